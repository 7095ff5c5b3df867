"""What `from dlp_dyn import ...` gives, and that `import dlp_dyn` alone costs nothing."""

import subprocess
import sys

import pytest

import dlp_dyn
from dlp_dyn.bundled import BALLS
from dlp_dyn.checkpoint import load_video_model


def test_every_public_name_is_the_one_of_its_module() -> None:
    assert set(dlp_dyn.__all__) == set(dlp_dyn._HOMES) <= set(dir(dlp_dyn))
    for name in dlp_dyn.__all__:
        assert getattr(dlp_dyn, name) is getattr(sys.modules[dlp_dyn._HOMES[name]], name)


def test_other_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        dlp_dyn.Nothing  # noqa: B018


def test_the_package_alone_loads_no_torch() -> None:
    code = "import dlp_dyn, sys; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_load_opens_a_video_model_where_there_are_dynamics() -> None:
    model = dlp_dyn.load(BALLS)
    assert isinstance(model, dlp_dyn.VideoModel)
    assert not model.training
    expected = load_video_model(BALLS).state_dict()
    assert all(value.equal(expected[name]) for name, value in model.state_dict().items())


def test_a_room_that_moved_is_found_by_its_old_name_for_a_version():
    from dlp_dyn import plots
    from dlp_dyn.plotting import pictures

    with pytest.warns(DeprecationWarning, match=r"plotting\.pictures\.write_video now"):
        assert plots.write_video is pictures.write_video
    with pytest.raises(AttributeError):
        plots.nothing  # noqa: B018
