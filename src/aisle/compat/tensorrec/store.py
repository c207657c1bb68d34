"""Models on disk: ``tensorrec.json`` says what the model is and names the file that holds its numbers.

    tensorrec.json                  settings, graphs, SHA-256 of the numbers
    tensorrec-<hash>.safetensors    weights, and Adam's state so that training can go on

No training data, no pickle. The manifest is switched last, so that a reader finds the old model or the new one.
Other files in the folder are left alone.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from aisle.errors import BundleError, UsageError
from aisle.files import atomic, sha256, write_json

FORMAT = 1
MANIFEST = "tensorrec.json"
THEIRS = ("tensorrec.pkl", "tensorrec_session.cpkt.meta")
ADAM = "adam"


def write(folder: Path, manifest: dict[str, Any], net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a model into ``folder``, in the place of one that lies there."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {f"net.{name}": value.detach() for name, value in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            numbers[f"{ADAM}.{key}.{name}"] = value.detach()
    numbers = {name: value.clone().contiguous() for name, value in sorted(numbers.items())}
    written = save(numbers)
    digest = hashlib.sha256(written).hexdigest()
    path = folder / f"tensorrec-{digest[:16]}.safetensors"
    with atomic(path) as temporary:
        temporary.write_bytes(written)
    write_json(folder / MANIFEST, {"format": FORMAT, **manifest, "numbers": path.name, "sha256": digest})
    for old in folder.glob("tensorrec-*.safetensors"):
        if old != path:
            old.unlink()


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Manifest and numbers of a folder, checked; raises BundleError with the fix."""
    path = folder / MANIFEST
    if not path.is_file():
        theirs = [name for name in THEIRS if (folder / name).exists()]
        why = "was written by TensorRec itself, as pickle; fit the model again" if theirs else f"has no {MANIFEST}"
        raise BundleError(f"{folder} {why}; load_model reads what save_model here has written")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        numbers = folder / Path(manifest["numbers"]).name
        known, digest = manifest["format"], manifest["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} cannot be read ({error!r}); restore it or save the model again") from error
    if known != FORMAT:
        raise BundleError(f"{path} has format {known!r}, this version reads {FORMAT}; upgrade aisle")
    try:
        if sha256(numbers) != digest:
            raise BundleError(f"{numbers} was altered after it was written; restore it or save the model again")
        return manifest, load_file(numbers)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{numbers} cannot be read ({error}); restore it or save the model again") from error


def fill(folder: Path, numbers: dict[str, Tensor], net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put stored numbers into a network and its optimizer."""
    try:
        net.load_state_dict({k.removeprefix("net."): v for k, v in numbers.items() if k.startswith("net.")})
    except RuntimeError as error:
        raise BundleError(
            f"{folder}: the weights do not fit the graphs ({error}); give the graphs of the fit"
        ) from error
    if any(not bool(value.isfinite().all()) for value in numbers.values() if value.is_floating_point()):
        raise BundleError(f"{folder} holds NaN or infinite numbers; fit and save the model again")
    for name, parameter in net.named_parameters():
        state = {
            key.split(".")[1]: value
            for key, value in numbers.items()
            if key.startswith(f"{ADAM}.") and key.split(".", 2)[2] == name
        }
        if state:
            optimizer.state[parameter] = state


def describe(graph: Any) -> dict[str, Any] | None:
    """A graph as JSON: its class, and its attributes where JSON can hold them (else None)."""
    if graph is None:
        return None
    settings: dict[str, Any] | None = {k: v for k, v in vars(graph).items() if k != "_home"}
    try:
        settings = settings if json.loads(json.dumps(settings)) == settings else None
    except (TypeError, ValueError):
        settings = None
    return {"class": _name(type(graph)), "settings": settings}


def graph_of(option: str, base: type[Any], stored: dict[str, Any] | None, given: Any) -> Any:
    """The graph of a manifest: the one given, or a class this process knows, with its stored attributes.

    Nothing is imported and no code of the file is run; a class that is unknown here must be given.
    """
    if given is not None or stored is None:
        return given
    found = {_name(cls): cls for cls in _heirs(base)}.get(stored["class"])
    if found is None or stored["settings"] is None:
        why = (
            "is not known in this process: import it first" if found is None else "has attributes that JSON cannot hold"
        )
        name = stored["class"].rpartition(":")[2]
        raise BundleError(f"{option} is a {stored['class']}, which {why}, or give load_model(…, {option}={name}(…))")
    graph: Any = object.__new__(found)
    vars(graph).update(stored["settings"])
    return graph


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _heirs(base: type[Any]) -> list[type[Any]]:
    heirs: list[type[Any]] = base.__subclasses__()
    return [found for heir in heirs for found in (heir, *_heirs(heir))]
