"""A file from disk into Drive with Google's own client and resumable chunks; prints the seconds. See `drive_peers`.

python google_client.py API_ROOT CREDENTIALS FILE NAME CHUNK_MIB
"""

from __future__ import annotations

import json
import sys
import time
from importlib import resources
from pathlib import Path

from google.oauth2.credentials import Credentials
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.discovery import build_from_document
from googleapiclient.http import MediaFileUpload, build_http


def _main(root: str, credentials: str, file: str, name: str, chunk_mib: str) -> None:
    document = json.loads((resources.files("googleapiclient.discovery_cache") / "documents/drive.v3.json").read_text())
    document["rootUrl"] = f"{root}/"  # under which its uploads go, too
    document.pop("mtlsRootUrl", None)
    saved = json.loads(Path(credentials).read_text())
    names = (
        "refresh_token",
        "token_uri",
        "client_id",
        "client_secret",
    )  # `from_authorized_user_file` knows one token_uri
    login = Credentials(None, **{name: saved[name] for name in names})  # type: ignore[no-untyped-call]
    with build_from_document(document, http=AuthorizedHttp(login, build_http())) as service:
        began = time.monotonic()
        media = MediaFileUpload(file, "application/octet-stream", chunksize=int(chunk_mib) << 20, resumable=True)
        request = service.files().create(body={"name": name}, media_body=media, fields="id")
        done = None
        while done is None:
            _, done = request.next_chunk()
        print(time.monotonic() - began)


if __name__ == "__main__":
    _main(*sys.argv[1:])
