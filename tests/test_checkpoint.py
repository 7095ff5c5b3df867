import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dlp_dyn import checkpoint, config
from dlp_dyn.errors import InputError
from dlp_dyn.image.model import DLP
from dlp_dyn.sharing.weights import FORMAT

CFG = config.load("tiny", ["data.path=x"])


@pytest.fixture
def model() -> DLP:
    torch.manual_seed(0)
    return DLP(CFG.model)


def save(folder: Path, model: DLP) -> None:
    checkpoint.save(folder, model.state_dict(), config.to_yaml(CFG), {"step": 1})


def equal(a: DLP, b: DLP) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_a_folder_rebuilds_its_model_alone(tmp_path: Path, model: DLP) -> None:
    save(tmp_path / "anywhere", model)
    loaded = checkpoint.load_model(tmp_path / "anywhere")
    assert equal(loaded, model)
    assert not loaded.training
    assert checkpoint.load_training_state(tmp_path / "anywhere") == {"step": 1}


def test_a_run_stands_for_its_best_checkpoint_else_its_last(tmp_path: Path, model: DLP) -> None:
    save(tmp_path / "checkpoints" / "last", model)
    assert checkpoint.resolve(tmp_path).name == "last"
    save(tmp_path / "checkpoints" / "best", model)
    assert checkpoint.resolve(tmp_path).name == "best"


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path, model: DLP) -> None:
    last = tmp_path / "checkpoints" / "last"
    save(last, model)
    last.rename(last.with_name("last.old"))  # the new folder was not yet in place
    assert equal(checkpoint.load_model(tmp_path), model)
    assert sorted(p.name for p in last.parent.iterdir()) == ["last.old"]  # who reads moves nothing
    save(last, model)  # saving first puts things right
    assert sorted(p.name for p in last.parent.iterdir()) == ["last"]


def test_a_failed_write_keeps_the_earlier_checkpoint(
    tmp_path: Path, model: DLP, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "last", model)
    before = checkpoint.content_hash(tmp_path / "last")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(
        InputError, match=r"model\.safetensors: cannot be written \(No space left on device\)"
    ):
        save(tmp_path / "last", model)
    assert checkpoint.content_hash(tmp_path / "last") == before
    assert [p.name for p in tmp_path.iterdir()] == ["last"]


def test_the_hash_tells_weights_and_settings_apart(tmp_path: Path, model: DLP) -> None:
    save(tmp_path / "a", model)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert checkpoint.content_hash(tmp_path / "a") == checkpoint.content_hash(tmp_path / "b")
    text = (tmp_path / "b" / "config.yaml").read_text()
    (tmp_path / "b" / "config.yaml").write_text(text.replace("steps: 200", "steps: 300"))
    assert checkpoint.content_hash(tmp_path / "a") == checkpoint.content_hash(tmp_path / "b")
    (tmp_path / "b" / "config.yaml").write_text(text.replace("mask_kl: true", "mask_kl: false"))
    assert checkpoint.content_hash(tmp_path / "a") != checkpoint.content_hash(tmp_path / "b")
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 1e-6
    save(tmp_path / "c", model)
    assert checkpoint.content_hash(tmp_path / "a") != checkpoint.content_hash(tmp_path / "c")


def test_wrong_checkpoints_are_refused_in_one_line(tmp_path: Path, model: DLP) -> None:
    folder = tmp_path / "c"
    file = folder / checkpoint.WEIGHTS
    with pytest.raises(InputError, match="no such run folder or checkpoint"):
        checkpoint.load_model(tmp_path / "gone")
    with pytest.raises(InputError, match="holds no checkpoint"):
        checkpoint.load_model(tmp_path)

    save(folder, model)
    weights = {name: weight.contiguous() for name, weight in model.state_dict().items()}
    save_file(weights, file, {"format": FORMAT, "version": "999"})
    with pytest.raises(InputError, match="checkpoint format 999, this dlp_dyn reads 1 and 2"):
        checkpoint.load_model(folder)
    save_file(weights, file)
    with pytest.raises(
        InputError, match="not a dlp_dyn checkpoint; import official ones with dlp-dyn convert"
    ):
        checkpoint.load_model(folder)

    save(folder, model)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged or cut short"):
        checkpoint.load_model(folder)
    state = folder / checkpoint.TRAINING_STATE
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged or cut short"):
        checkpoint.load_training_state(folder)
    state.unlink()
    with pytest.raises(InputError, match="training cannot go on from it"):
        checkpoint.load_training_state(folder)

    save(folder, model)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("feature_dim: 4", "feature_dim: 5"))
    with pytest.raises(InputError, match=r"weight '.*' is \(.*\), the model has \(.*\)"):
        checkpoint.load_model(folder)
    (folder / "config.yaml").write_text("steps: 3\n")
    with pytest.raises(InputError, match="no section 'model'"):
        checkpoint.load_model(folder)
