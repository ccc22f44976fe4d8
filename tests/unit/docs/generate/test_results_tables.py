from docs.generate.results_tables import PAGE, written


def test_the_committed_tables_are_those_that_their_commands_print() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text()


def test_a_changed_table_is_replaced_with_its_footnotes_and_the_text_stays() -> None:
    page = PAGE.read_text()
    row = next(line for line in page.splitlines() if line.startswith("| FM-IRL"))
    assert written(page.replace(row + "\n", "")) == page
    assert written(page.replace("† Trained before", "† Trained long before")) == page
    assert "## Protocol" in page
