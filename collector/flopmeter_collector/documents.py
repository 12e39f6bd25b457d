"""What a JSON document is made of here.

Owns: the type, and nothing else.
May touch: nothing; a definition only.
Read by every module that makes a document, in the collector and in the lab.
"""

from __future__ import annotations

Json = dict[str, object]
"""An object of a document: names and values that `json.dumps` takes."""
