from collections.abc import Callable
from pathlib import Path

import pytest
from support.config_files import fill


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """Good and bad certificates, keys and lists."""
    path = tmp_path_factory.mktemp("config")
    fill(path)
    return path


@pytest.fixture
def write(folder, monkeypatch) -> Callable[[str], Path]:
    """Writes `config.yaml` into it and gives its relative path, with the folder as the current one."""
    monkeypatch.chdir(folder)

    def written(text: str) -> Path:
        path = Path("config.yaml")
        path.write_text(text, encoding="utf-8")
        return path

    return written
