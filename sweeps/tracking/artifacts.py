"""The files of an MLflow run, read with care: another hand may have changed them, or the listing that names them.

A file is read only where its name stays inside the run, its size is within reason, and MLflow finds it in the run's own
folder: it follows no link out of it.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from sweeps.tracking.connection import is_refusal, one_line
from sweeps.tracking.spool import check_name
from trainables.errors import UserError
from trainables.files import LARGEST_FILE, LARGEST_JSON, check_size, read

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import FileInfo
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

MOST_FILES = 10_000  # that a folder may have in all: links in it can make it endless


class Unreadable(UserError):
    """A file that a run should have cannot be read, and asking again is of no use."""


@dataclass(frozen=True)
class Artifacts:
    """One run's files.

    They are asked for where they lie: MLflow's client says of whatever goes wrong there that no such file exists.
    """

    repository: ArtifactRepository

    @classmethod
    def of(cls, client: MlflowClient, run_id: str) -> Artifacts:
        """Return the files of a run. Raises what MLflow does where there is no such run."""
        return cls.at(client, client.get_run(run_id).info.artifact_uri)

    @classmethod
    def at(cls, client: MlflowClient, uri: str) -> Artifacts:
        """Return the files of a run that is known, which saves a request."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return cls(get_artifact_repository(uri, client.tracking_uri))

    def listed(self, folder: str = "") -> list[FileInfo]:
        """Return what lies in a folder; nothing where there is no such folder.

        What is named as if it lay elsewhere is left out. Raises Unreadable where MLflow refuses the folder.
        """
        with _told():
            found = self.repository.list_artifacts(folder or None)
        return [each for each in found if _lies_in(folder, each.path)]

    def fetch(self, artifact: FileInfo) -> bytes:
        """Return the content of a file that was listed. Raises Unreadable where it cannot be had, or is too large."""
        most = _most(artifact.path)
        with _told(), tempfile.TemporaryDirectory() as folder:
            check_size(artifact.path, artifact.file_size or 0, most)
            return read(Path(self.repository.download_artifacts(artifact.path, folder)), most)

    def at_once(self, path: str) -> bytes | None:
        """Return the content of a file that a server most likely has, in one request in place of three.

        None where it cannot be had so, or is too large: listed() and fetch() tell why. Of a store on a disk it is
        always None, as there they cost nothing. Raises what MLflow does where that is away.
        """
        from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
        from mlflow.utils.rest_utils import augmented_raise_for_status, http_request

        if not isinstance(self.repository, HttpArtifactRepository):
            return None
        try:
            with _told(), http_request(self.repository._host_creds, f"/{path}", "GET", stream=True) as response:
                augmented_raise_for_status(response)
                content = bytearray()
                for chunk in response.iter_content(1 << 20):
                    content += chunk
                    check_size(path, len(content), _most(path))
                return bytes(content)
        except Unreadable:
            return None

    def below(self, folder: str) -> dict[str, bytes]:
        """Return the files of a folder and of those in it: path from that folder → content; nothing where it is none.

        Raises Unreadable where one of them cannot be read, and for more than MOST_FILES.
        """
        files: list[FileInfo] = []
        folders = [folder]
        while folders:
            found = self.listed(folders.pop())
            folders += [each.path for each in found if each.is_dir]
            files += [each for each in found if not each.is_dir]
            if len(files) + len(folders) > MOST_FILES:
                raise Unreadable(f"{folder} has more than {MOST_FILES:,} files")
        return {PurePosixPath(each.path).relative_to(folder).as_posix(): self.fetch(each) for each in files}

    def add(self, file: Path, folder: str) -> None:
        """Add a file to a folder of the run's; "" is its own. Raises what MLflow does."""
        self.repository.log_artifact(str(file), folder or None)

    def delete(self, path: str) -> None:
        """Delete a file, of a link the link. Raises Unreadable where there is no such file in the run's folder."""
        if path not in [each.path for each in self.listed(folder_of(path))]:
            raise Unreadable(f"there is no file {path!r}")
        self.repository.delete_artifacts(path)


def _most(path: str) -> int:
    """Return how many bytes a file may have."""
    return LARGEST_JSON if path.endswith(".json") else LARGEST_FILE


def folder_of(path: str) -> str:
    """Return the folder that an artifact lies in; "" for the run's own."""
    return path.rpartition("/")[0]


def _lies_in(folder: str, path: str) -> bool:
    try:
        check_name(path)
    except ValueError:
        return False
    return folder_of(path) == folder


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what is refused meanwhile into an Unreadable; an MLflow that is away stays what it is."""
    try:
        yield
    except MemoryError:  # says nothing of the file
        raise
    except Exception as error:
        if not is_refusal(error):
            raise
        raise Unreadable(one_line(error).removeprefix("ValueError: ")) from error
