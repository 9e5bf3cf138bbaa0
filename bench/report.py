"""Times the page about a build of a thousand sections: to make it, to open it, and to use it in Chromium.

    python bench/report.py [--sections 1000] [--files 20000] [--check]

The graph is made up (five nodes a section: layer, index, image, bundle, segment); the page and the browser are real.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from kitbuild.cli.report import laid
from kitbuild.report.html_document import document_of
from kitbuild.report.html_page import page
from tests.support.chromium import chromium
from tests.support.gestures import GESTURES
from tests.support.pages import large

# What people take for immediate.
MOST_MILLISECONDS = 100
RUNS = 7
_FIRST_PAINT = """
const paint = performance.getEntriesByName("first-contentful-paint")[0];
return [paint ? paint.startTime : -1, performance.timing.loadEventEnd - performance.timing.navigationStart];
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sections", type=int, default=1000)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--check", action="store_true", help="fail if anything takes 100 ms or more")
    arguments = parser.parse_args()
    subject = large(arguments.sections, files=arguments.files)
    began = time.monotonic()
    document = document_of(subject, version="bench", lay=laid)
    made = time.monotonic()
    text = page(document)
    written = time.monotonic()
    print(
        f"{arguments.sections} sections, {len(subject.graph)} nodes, {len(subject.filling.content.rows)} files"
    )
    print(f"document   {made - began:6.2f} s")
    print(f"page       {written - made:6.2f} s  {len(text.encode()) / 1e6:.1f} MB")
    slowest = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "page.html").write_text(text)
        with chromium(folder / "profile") as browser:
            browser.open(folder / "page.html")
            paint, loaded = browser.run(_FIRST_PAINT)
            print(f"open       {paint:6.0f} ms to the first paint, {loaded:.0f} ms to all of it")
            for gesture, script in GESTURES.items():
                times = sorted(browser.milliseconds(script) for _ in range(RUNS))
                # The first time a view is opened it is made; that is the slowest.
                slowest = max(slowest, times[-1])
                print(f"{times[RUNS // 2]:6.1f} ms, at most {times[-1]:6.1f} ms  {gesture}")
            for line in browser.console():
                print(line)
    print(f"slowest    {slowest:6.1f} ms")
    return 1 if arguments.check and slowest >= MOST_MILLISECONDS else 0


if __name__ == "__main__":
    sys.exit(main())
