"""The page of peers: one row a peer, one column a rate, and what did not run with its reason."""

from pathlib import Path

from docs.generate.peers_page import PAGE, Result, Results, page, save


def test_a_peer_has_a_row_with_p50_and_p99_of_each_rate_and_missing_ones_are_named(tmp_path: Path) -> None:
    rows = (
        Result("odeploy", "ZeroMQ", "native", "", 50.0, 10, 100.4, 200.6),
        Result("odeploy", "ZeroMQ", "native", "", 200.0, 10, 90.0, 180.0),
        Result("zenoh", "TCP", "ONNX Runtime", "eclipse-zenoh 1.0", 200.0, 10, 300.0, 900.0),
    )
    save(Results("a machine", 0.26, {"LeRobot": "no wheel"}, rows), tmp_path / "peers.json")
    text = page(tmp_path / "peers.json")
    assert "| | transport | computed by | 50 Hz | 200 Hz |" in text
    assert "| odeploy | ZeroMQ | native | 100 / 201 | 90 / 180 |" in text
    assert "| zenoh | TCP | ONNX Runtime |  | 300 / 900 |" in text
    assert "a machine; load 0.3 at the start" in text
    assert "Versions: eclipse-zenoh 1.0." in text
    assert "Not run: LeRobot (no wheel)." in text


def test_the_page_is_that_of_the_results() -> None:
    assert PAGE.read_text() == page()
