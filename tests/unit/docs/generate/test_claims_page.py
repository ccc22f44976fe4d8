"""docs/explanation/claims.md follows from the claims and the results."""

from docs.generate.claims import read_claims
from docs.generate.claims_page import PAGE, PAPERS, page


def test_the_committed_page_is_current() -> None:
    assert PAGE.read_text() == page(read_claims()), "write it again: python -m docs.generate.claims_page"


def test_every_claim_has_a_section_and_no_line_is_wider_than_a_terminal() -> None:
    text = PAGE.read_text()
    assert {claim.paper for claim in read_claims()} == set(PAPERS)
    for claim in read_claims():
        assert text.count(f"\n### {claim.claim}\n") == 1
    assert max(map(len, text.splitlines())) <= 100


def test_gorl_is_cited_beside_fpo_against_ppo() -> None:
    section = PAGE.read_text().partition("\n### Better than Gaussian PPO\n")[2].partition("\n### ")[0]
    assert "arXiv 2512.02581" in section
    assert "| 599 / 725 |" in section
