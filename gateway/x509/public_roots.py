"""The keys of the root CAs that Mozilla trusts, by which `public_cas` recognises a public root without its policies.

The list ages slowly, since roots are valid for decades. A public root that is missing here gets no warning. Each word
is the first 64 bits of the SHA-256 digest of a root's public key (SubjectPublicKeyInfo), from the bundles of Debian 12
(2023) and certifi: a collision on purpose would only add a warning.
"""

from __future__ import annotations

from typing import Final

DIGEST_CHARACTERS: Final = 16  # of the hexadecimal digest

PUBLIC_ROOTS: Final = frozenset(
    """
    006d7be7555dd820 051cf9fa95e40e9b 05570ae6eb0fceb4 07e854f26a7cbd38 08b3a6335fce5ef4 0b9fa5a59eed715c
    0c7acaa710226720 0e8bb18bbeefb381 10ba3485ca8bb688 1255cabe8152fa64 149f2ee63b9a5e58 15eed339594b304f
    15f14ac45c9c7da2 1ea3c5e43ed66c2d 1ef64625daa2e5d4 2021917e98263945 23f2edff3ede9025 2541e53ba5b3b07a
    2596904dc4d699ae 25d4913cf5870974 2a4212605aa3e8ae 2a8f2d8af0eb1238 2b071c59a0a0ae76 2bcee858158cf546
    2e06cae1fc20b200 2fc5667a4b9a2678 3219b09114ff495a 3329bfa13b6007ab 3380709af3b096be 348767cdad3bdd28
    35f53ce1264611e0 36abc32656acfc64 36c22314131a5fbf 36d7c79f3d089a0f 376a1a7082a593dc 3b0d73b4be4a854a
    3f93f3fcf79d225d 40fcfc28875dccbf 4179edd981ef7474 42431627ea76cc78 453b74809b690196 497128fc90656b87
    4a49edbd2f8f8230 50cc86ba96db3263 510d20e5c47f63cf 55e00be277ceb054 55f77de41c037924 5632d97bfa775bf3
    56f2ea8684106d0c 58dd61feb36ea7d2 5955ae291574a931 59df317bfa9f4f0a 5a889647220e54d6 5c41a73ab2c35dfc
    603f76f28c9feba8 6106c0e3a0a29983 616167201433aea6 62554c17005543b2 63d9af9b47b1064d 681dc482c296c840
    682747f8ba621b87 693c9aa6b245b3b0 6a97b51c8219e93e 6b3b57e9ec88d1bb 6c464b9a5b233a5e 6dbfae00d37b9cd7
    6e364b6133deefdc 702116ccd8bf23e1 706bb1017c855c59 762195c225586ee6 76ee8590374c7154 77290717614b25f1
    786ffa578618c3b9 79caaf5347e6e4a9 7afe4b071a2f1f46 7cd67c248f69d83f 7e0ead76bb6819dc 7f4296fc5b6a4e3b
    808d68b3fab4884a 828b0eeff24654e8 82b5f84daf47a59c 86a68f050034126a 871a9194f4eed5b3 8bb593a93be1d0e8
    8d417db2dd8bf5e3 8d767764b3cbda08 8e8046ec4cac015a 8fd112c3c8370f14 92c46879626ef2cc 9318226f8c83afe4
    94072ad3f58f70f9 952c2039c0243eb5 9847e5653e5e9e84 9a52ff6a3cb6e353 9d37e4a989eab388 a02fafa192c8cb81
    a246b822f96cfecc a320f4d534d7be97 aa2630a7b617b04d ae7f962cb9e6a7db aff988906dde1295 b03d87b056d08cc9
    b0b56335468561f5 b2f7298b52bf2c3c b3effbf46bcf66ae b7408b4d2be0238b b94c198300cec5c0 bb4128ec9620f2d2
    bb52086d0639e8db bd153ed7b0434f68 c1ad1b1898ec3950 c2b3c31a4a29850a c444b5b66ce5d71e c63d68c648a18b77
    c784333d20bcd742 c7f43b4cf5b71568 c942262c0c7c0a95 cbad7b1d384849df cc94a5a0319ff77a ceb19411c65052c7
    d1c45377ebdcd618 d3980aadd21638c7 dbc1e3a15238a048 dd5ed1c090f9f448 de7b6932e9c44582 e04a022ce32f4ccf
    e06647e52610160c e5ca37bc7b6c3619 e7ca91bbfbb18788 ea87f462deefffbd eabc185c4e82d942 ebc55f21e88d49ed
    eca0f181402ce7a8 f1c6ba670cfc88e4 f3438e23b3ce5325 f48badd7df6a0669 f7ecded5c66047d2 fbe3018031f9586b
    fc784300ec8df4d3 fd371bea9755ff60 fea2b7d645fba73d fee8af929175687f ff342fb6c4c8bd30
    """.split()  # noqa: SIM905 - a list would need five times as many lines
)
