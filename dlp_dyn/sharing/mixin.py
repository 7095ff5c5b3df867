"""Models as folders to give away: save_pretrained, from_pretrained, push_to_hub.

FOLDER/model.safetensors     weights
       config.yaml           the run's config; paths are cut to their last names
       metrics.jsonl         the run's training log
       environment.json      versions and device, likewise
       sample.gif or .png    the run's last picture
       README.md             the model card, written from all that

The last four only where a model was loaded from a run that has them.
"""

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from huggingface_hub import ModelHubMixin
from torch import nn

from dlp_dyn.folders import write_file
from dlp_dyn.settings import read_yaml, to_dict
from dlp_dyn.sharing import records
from dlp_dyn.sharing.locate import CARD, CONFIG, ENVIRONMENT, METRICS, resolve
from dlp_dyn.sharing.model_card import SAMPLE, model_card
from dlp_dyn.sharing.weights import WEIGHTS, load_into, load_weights, to_bytes

_PICTURES = (".gif", ".png")

M = TypeVar("M", bound="SharedModel")


class SharedModel(nn.Module, ModelHubMixin):
    """A model that can be saved, loaded and put on the Hugging Face Hub.

    checkpoint: the folder that it was loaded from, all of it.
    """

    checkpoint: Path | None = None

    @classmethod
    def from_config(cls: type[M], file: Path) -> M:
        """A model with random weights, as the config of a run describes it. Raises InputError where it does not fit."""
        raise NotImplementedError

    def sections(self) -> dict[str, object]:
        """The sections of a config that `from_config` reads."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(  # pyright: ignore[reportIncompatibleMethodOverride] (settings come from config.yaml alone)
        cls: type[M],
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        device: torch.device | str = "cpu",
    ) -> M:
        """The model of a run folder, a checkpoint folder or a Hub id, in eval mode.

        Raises InputError when there is none, and for one of another kind.
        """
        folder = resolve(
            pretrained_model_name_or_path,
            force_download=force_download,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            revision=revision,
        )
        model = cls.from_config(folder / CONFIG)
        weights = load_weights(folder)
        own = cls.own_weights(weights)
        load_into(model, own, folder)
        model.checkpoint = folder if len(own) == len(weights) else None
        return model.to(device).eval()

    @classmethod
    def own_weights(cls, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Those of a checkpoint that are this model's."""
        return weights

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: Any = None,  # noqa: ARG002 (config.yaml is the config)
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        dtype: torch.dtype | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write the folder above; files of other names that lie there stay.

        dtype: torch.float16 halves the file; loading gives float32 again. model_card_kwargs: `name`, under which the
        card says the model is found; the folder's where it is not given. The rest is as in `push_to_hub`.
        Raises InputError when the folder cannot be written.
        """
        folder = Path(save_directory)
        name = (model_card_kwargs or {}).get("name", folder.name)
        contents = {WEIGHTS: to_bytes(self.state_dict(), dtype)} | self._description(name)
        for name, data in contents.items():
            write_file(folder / name, data)
        return self.push_to_hub(repo_id or folder.name, **push_to_hub_kwargs) if push_to_hub else None

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload what `save_pretrained` writes; gives the address of the commit.

        kwargs: private, token, branch, commit_message and what else `ModelHubMixin.push_to_hub` takes.
        """
        return super().push_to_hub(repo_id, model_card_kwargs={"name": repo_id}, **kwargs)

    def _description(self, name: str) -> dict[str, bytes]:
        """All files but the weights."""
        if self.checkpoint is None:
            config = {section: to_dict(cfg) for section, cfg in self.sections().items()}
            files = {}
        else:
            config, files = _without_places(read_yaml(self.checkpoint / CONFIG)), _log(self.checkpoint)
        card = model_card(name, type(self).__name__, sum(p.numel() for p in self.parameters()), config, files)
        return files | {CONFIG: yaml.safe_dump(config, sort_keys=False).encode(), CARD: card.encode()}


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """A config whose paths are cut to their last names: nobody else has the folders of this machine."""
    config = dict(config)
    for name in ("image", "out"):
        if config.get(name):
            config[name] = Path(config[name]).name
    if "data" in config:
        config["data"] = config["data"] | {"path": Path(config["data"]["path"]).name}
    return config


def _log(checkpoint: Path) -> dict[str, bytes]:
    """What a run wrote down, as far as it is there."""
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint
    files = {}
    if (run / METRICS).is_file():
        files[METRICS] = b"".join(line for line, _ in records.rows(run / METRICS))
    if (run / ENVIRONMENT).is_file() and (session := records.session(run / ENVIRONMENT)) is not None:
        files[ENVIRONMENT] = (json.dumps(_without_machine(session), indent=2) + "\n").encode()
    pictures = sorted(p for p in (*run.glob("samples/*"), *run.glob(f"{SAMPLE}.*")) if p.suffix in _PICTURES)
    if pictures:
        files[SAMPLE + pictures[-1].suffix] = pictures[-1].read_bytes()
    return files


def _without_machine(session: dict[str, Any]) -> dict[str, Any]:
    """A session of environment.json without the names of places and of the system."""
    kept = {name: value for name, value in session.items() if name not in ("platform", "earlier", "command")}
    words = [word.rpartition("=") for word in session.get("command", ())]
    kept["command"] = [f"{key}{equals}{Path(value).name}" for key, equals, value in words]
    return kept | {"earlier": [_without_machine(earlier) for earlier in session.get("earlier", ())]}
