"""Where a training leaves its state after each epoch, so that it goes on exactly when it was stopped.

``FOLDER/training.safetensors`` holds tensors by name; numbers, and what the training was made of, stand in its header
as JSON. One file appears whole or not at all, so that no kill leaves two halves of different epochs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aisle.errors import BundleError
from aisle.files import atomic, fingerprint

FORMAT = 1
NAME = "training.safetensors"
Facts: TypeAlias = Mapping[str, Any]
"""Plain JSON by name."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of one training on disk."""

    folder: Path
    """A folder for this training alone."""
    facts: Facts = field(default_factory=dict)
    """Whatever must be equal to go on, besides what the loop knows: for instance the last day of the data."""

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / NAME

    def save(self, tensors: Mapping[str, Tensor], numbers: Facts, made_of: Facts) -> None:
        """Write the state of a training; it is on disk when this returns, in place of an earlier one."""
        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        head = {"format": FORMAT, "made_of": {**made_of, **self.facts}, "numbers": numbers}
        with atomic(self.path) as temporary:
            save_file(own, temporary, metadata={"aisle": json.dumps(head | {"seal": _seal(head, own)})})

    def load(self, made_of: Facts) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and numbers saved last; None where there are none.

        Raises BundleError where the file is damaged, from a newer format, or of a training not ``made_of`` the same.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if NAME not in os.listdir(self.folder):  # asked by name, a network file system would remember for a while
            return None  # that folder and file were absent, when another machine has written them
        head, tensors = self._read()
        there, wanted = head["made_of"], json.loads(json.dumps({**made_of, **self.facts}))  # as it was read back
        if changed := _changes(there, wanted):
            raise BundleError(
                f"{self.path} belongs to another training ({changed}); train as before to go on, "
                f"or give another folder, or delete this one, to start anew"
            )
        return tensors, head["numbers"]

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        fix = f"delete {self.folder} to start anew"
        try:
            with safe_open(self.path, framework="pt") as file:
                head: dict[str, Any] = json.loads((file.metadata() or {})["aisle"])
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            version, seal = head["format"], head.pop("seal", None)
        except (OSError, SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"{self.path} cannot be read: {error}; {fix}") from error
        if version != FORMAT:
            raise BundleError(f"{self.path} has format {version!r}, this version reads {FORMAT}; upgrade, or {fix}")
        if seal != _seal(head, tensors):
            raise BundleError(f"{self.path} was altered after it was written; {fix}")
        return head, tensors


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes, in hex."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.flatten().clone(memory_format=torch.contiguous_format)  # an empty one may have stride 0
        found.update(plain.view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _seal(head: Facts, tensors: Mapping[str, Tensor]) -> str:
    """A hash of the whole file; safetensors itself checks lengths only."""
    return fingerprint([json.dumps(head, sort_keys=True), digest(tensors)])


def _changes(was: Facts, now: Facts, prefix: str = "") -> str:
    """``schedule.epochs was 3, is 5, size was 90, is 80``; long values are only named, empty = all equal."""
    found = []
    for key in sorted(was.keys() | now.keys()):
        old, new = was.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found.append(_changes(old, new, f"{prefix}{key}."))
        elif old != new:
            short = len(f"{old}{new}") <= 60
            found.append(f"{prefix}{key} was {old}, is {new}" if short else f"{prefix}{key} differs")
    return ", ".join(text for text in found if text)
