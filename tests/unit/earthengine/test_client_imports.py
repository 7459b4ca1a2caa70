"""The client is cheap to import: heavy libraries come with the first call."""

import subprocess
import sys


def test_importing_the_client_loads_no_http_and_no_google_library():
    code = (
        "import sys, downloader.earthengine.catalogue, downloader.earthengine.client; "
        "print(*sorted({'httpx', 'aiohttp', 'google.auth', 'tenacity', 'pyproj', 'zarr'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
