"""What the peers are built from: the Python environment, the JavaScript packages, and the Go programs.

Everything pinned comes from its registry once and stays in `.venv/` and `target/peers/`. Needs nothing but the standard
library, because it makes the environment that the other files run in.
"""

import filecmp
import os
import shutil
import subprocess
import sys

PEERS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(PEERS))
VENV = os.path.join(ROOT, ".venv")
BUILT = os.path.join(ROOT, "target", "peers")
PYTHON = os.path.join(VENV, "bin", "python")
REQUIREMENTS = os.path.join(PEERS, "python", "requirements.txt")
NEEDED = {"go": "the Go programs", "node": "the JavaScript program", "npm": "the JavaScript packages",
          "openssl": "the certificates"}


def is_current(source, copy):
    return os.path.exists(copy) and filecmp.cmp(source, copy, shallow=False)


def prepare_python():
    """An environment of the checkout's own, made anew when the list of packages changes."""
    marker = os.path.join(VENV, "requirements.txt")
    if is_current(REQUIREMENTS, marker):
        return
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS], check=True)
    shutil.copy(REQUIREMENTS, marker)


def prepare_javascript():
    """The packages and the programs beside them, where Node finds them."""
    source, target = os.path.join(PEERS, "javascript"), os.path.join(BUILT, "javascript")
    os.makedirs(target, exist_ok=True)
    for name in ("sender.mjs", "app.js"):
        shutil.copy(os.path.join(source, name), target)
    lock, marker = os.path.join(source, "package-lock.json"), os.path.join(target, "installed.json")
    if is_current(lock, marker):
        return
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(source, name), target)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"], cwd=target, check=True)
    shutil.copy(lock, marker)


def prepare_go():
    """Both programs; Go itself knows what is current."""
    subprocess.run(["go", "build", "-o", BUILT + os.sep, "./..."], cwd=os.path.join(PEERS, "go"), check=True)


def prepare():
    """Makes everything, or ends with the name of a tool that is missing."""
    missing = [f"{tool} (for {what})" for tool, what in NEEDED.items() if shutil.which(tool) is None]
    if missing:
        sys.exit(f"the tests with real peers need {', '.join(missing)} on the PATH")
    os.makedirs(BUILT, exist_ok=True)
    for part in (prepare_python, prepare_javascript, prepare_go):
        try:
            part()
        except subprocess.CalledProcessError as error:
            sys.exit(f"{part.__name__.replace('_', ' ')}: {' '.join(error.cmd)} ended with {error.returncode}")


def enter():
    """Goes on in the prepared Python environment."""
    prepare()
    if os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        os.execv(PYTHON, [PYTHON, *sys.argv])
