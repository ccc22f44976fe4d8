"""What the doctor looks at in a policy file, a module for each kind of question; each answers with findings."""
