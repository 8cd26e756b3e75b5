"""Sixty texts that were written to be executed by a page, a renderer or a shell, for trial H7.

Each that can run marks the page with ``window.__ran``, so that a test can tell; dialogs tell by themselves. Some are
cut: what is harmless whole may run when a view shortens it.
"""

from __future__ import annotations

from typing import Final

RUN: Final = "window.__ran=1"

PAYLOADS: Final[tuple[str, ...]] = (
    # Elements that run what they are given as soon as they stand in a page.
    f"<script>{RUN}</script>",
    f"</script><script>{RUN}</script>",
    f"<ScRiPt>{RUN}</sCrIpT>",
    f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    f"<script/x>{RUN}</script\t>",
    f"<script type=module>{RUN}</script>",
    "<script src=//127.0.0.1:9/x.js></script>",
    f"<img src=x onerror={RUN}>",
    f"<img src=x onerror='{RUN}'>harmless",
    f'<IMG """><SCRIPT>{RUN}</SCRIPT>">',
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f"<svg><a xlink:href='javascript:{RUN}'><text x=0 y=20>click</text></a></svg>",
    f"<svg><foreignObject><body onload={RUN}></foreignObject></svg>",
    f"<math><mi xlink:href='javascript:{RUN}'>x</mi></math>",
    f"<body onload={RUN}>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>",
    f"<input autofocus onfocus={RUN}>",
    f"<details open ontoggle={RUN}>",
    f"<marquee onstart={RUN}>",
    f"<iframe srcdoc='<script>parent.{RUN}</script>'>",
    f"<iframe src='javascript:parent.{RUN}'>",
    f"<object data='javascript:{RUN}'>",
    f"<embed src='data:text/html,<script>{RUN}</script>'>",
    "<link rel=stylesheet href=//127.0.0.1:9/x.css>",
    "<style>@import '//127.0.0.1:9/x.css';*{background:url(//127.0.0.1:9/x.png)}</style>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<base href=//127.0.0.1:9/>",
    f"<form action='javascript:{RUN}'><button autofocus>x</button></form>",
    f"<template><script>{RUN}</script></template>",
    f"<noscript><p title='</noscript><img src=x onerror={RUN}>'>",
    f"<textarea></textarea><img src=x onerror={RUN}>",
    # Out of the place in which they stand: attribute, text, comment, CDATA, JSON, string, template.
    f'" onmouseover="{RUN}" autofocus onfocus="{RUN}',
    f"' onfocus='{RUN}' autofocus='",
    f'"><svg onload={RUN}>',
    f"'\"><svg/onload={RUN}>",
    f"--><script>{RUN}</script><!--",
    f"]]><script>{RUN}</script><![CDATA[",
    f"</title></style></svg></textarea><script>{RUN}</script>",
    f"</text><script>{RUN}</script>",
    f'"}}</script><script>{RUN}</script>',
    f"\\u003cscript\\u003e{RUN}\\u003c/script\\u003e",
    f"&lt;script&gt;{RUN}&lt;/script&gt;",
    f"${{{RUN}}} `{RUN}`",
    "{{constructor.constructor('window.__ran=1')()}}",
    "<%= window.__ran=1 %> #{window.__ran=1}",
    f"';{RUN};'",
    f"\\';{RUN};//",
    # Links and markup of the forms that it is exported to.
    f"javascript:{RUN}",
    f"[click](javascript:{RUN})",
    f'<a href="javascript:{RUN}">click</a>',
    f'"]; click m0 "javascript:{RUN}"; m9["',
    f'"]:::completed\nclick m0 call {RUN}()\n  m8["',
    f'"; URL="javascript:{RUN}"; x="',
    f'" ]; }} digraph y {{ a [URL="javascript:{RUN}"',
    # What draws itself over the rest, ends a line or opens a formula.
    f"two\nlines\r\u2028{RUN}\x00\x1b]8;;javascript:{RUN}\x07link\x1b]8;;\x07",
    f"\u202egpj.<img src=x onerror={RUN}>\u202c\ufeff",
    f"{'x' * 3000}<img src=x onerror={RUN}>{'y' * 3000}$\\href{{javascript:{RUN}}}{{x}}$",
)
