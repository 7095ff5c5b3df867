"""The table of sources has a row a file, with what the file's truth allows."""

from benchmarks import sources


def test_a_row_a_file(balls_file, tmp_path, capsys):
    few = ["eval_every=2", "eval_frames=4", "save_every=2", "sample_every=2", "batch_size=2"]
    assert sources.main([str(balls_file), "--steps", "2", "--out", str(tmp_path), "--set", *few]) == 0
    head, _, line = capsys.readouterr().out.strip().splitlines()[-3:]
    assert head.count("|") == line.count("|")
    assert line.startswith("| balls32 | ")
    assert "-" not in line.split("|")[2]
    assert (tmp_path / "balls32" / "samples").is_dir()
