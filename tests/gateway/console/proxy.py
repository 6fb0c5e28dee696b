"""nginx before a gateway, which it mounts somewhere below its own root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backbeat.compose.local.ports import free_port, port_is_free
from tests.waiting import until

_CONFIGURATION = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location {path} {{ proxy_pass {target}/; proxy_set_header Host $http_host; }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(folder: Path, path: str, target: str) -> Iterator[str]:
    """The address of `target` behind the proxy. Without nginx tests are skipped; where CI is set they fail."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        reason = "there is no nginx: apt-get install nginx-light"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, path=path, target=target))
    process = subprocess.Popen([program, "-c", str(configuration), "-p", str(folder), "-e", str(folder / "error.log")])
    try:
        until(lambda: not port_is_free(port), "nginx listens")
        yield f"http://127.0.0.1:{port}{path}"
    finally:
        process.terminate()
        process.wait(60)
