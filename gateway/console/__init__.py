"""The web console: HTML pages of a gateway under `/ui/`, for operators, developers and support.

A request takes one way through `Console.answer`: its Host is checked, its path is looked up in `table`, which names the
right that it needs; then its handler in `pages` reads the engine (trees and nodes: always fresh, also while the search
is rebuilt) or the projection (lists and counts), and `rendering` fills a template.

`tree` reads a workflow's tree branch by branch; `deeds` writes down what people do before it is done; `live` tells open
pages what has changed. The pages need no JavaScript: links and forms do everything, and modules in `static` make them
quicker. Every link is relative (`Visit.base`), so the pages work
under any path that a proxy mounts them at, without a setting. A part that is away is a line on the page, not an error.
The API imports nothing of the console.
"""
