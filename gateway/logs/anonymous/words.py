"""What is known to name no person: words of paths and queries, and the beginnings of the gateway's own sentences."""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


METHODS: Final = _words(
    """
    GET HEAD POST PUT DELETE OPTIONS PATCH TRACE CONNECT PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK REPORT
    SEARCH MKCALENDAR ACL RPC_IN_DATA RPC_OUT_DATA SUBSCRIBE UNSUBSCRIBE POLL BPROPFIND BPROPPATCH BMOVE BCOPY
    BDELETE
    """
)
PROTOCOLS: Final = _words("HTTP/1.0 HTTP/1.1 HTTP/2 HTTP/2.0 HTTP/3 https imaps pop3s smtps sieve tls")
LOGINS: Final = _words("none basic digest bearer connection")
TLS_VERSIONS: Final = _words("TLSv1 TLSv1.1 TLSv1.2 TLSv1.3")
CIPHER_PARTS: Final = _words(
    """
    TLS ECDHE DHE RSA ECDSA PSK WITH AES AES128 AES256 128 256 GCM CCM CCM8 8 CBC CHACHA20 POLY1305 SHA SHA256
    SHA384 ARIA ARIA128 ARIA256 CAMELLIA CAMELLIA128 CAMELLIA256
    """
)
TLS_GROUPS: Final = _words(
    """
    x25519 x448 secp256r1 secp384r1 secp521r1 prime256v1 p-256 p-384 p-521 x25519mlkem768 secp256r1mlkem768
    secp384r1mlkem1024 mlkem512 mlkem768 mlkem1024 ffdhe2048 ffdhe3072 ffdhe4096
    """
)

# Segments of paths, and names and values in queries, in lower case: of Exchange, SOGo, Roundcube, Zimbra, DAV and the
# web in general.
PATH_WORDS: Final = _words(
    """
    owa ecp ews mapi emsmdb nspi oab rpc rpcproxy.dll rpcwithcert autodiscover autodiscover.xml autodiscover.json
    microsoft-server-activesync powershell exchange.asmx exchange exchweb public auth logon.aspx logoff.aspx
    auth.owa service.svc lang.owa healthcheck.htm proxylogon.owa manifests premium prem scripts resources styles
    sogo so sogo.woa webserverresources connect logoff view dav caldav carddav principals calendars addressbooks
    calendar contacts mail webmail roundcube skins plugins program js css img images image icons fonts static assets
    dist build themes elastic larry zimbra service soap home api v1 v2 rest graphql login logout index.php
    index.html favicon.ico robots.txt .well-known acme-challenge openid-configuration security.txt change-password
    horde rainloop nextcloud remote.php status.php ocs apps core server socket.io wp-login.php wp-admin xmlrpc.php
    cgi-bin phpmyadmin .env .git config admin healthz metrics ocsp crl jquery.js jquery.min.js app.js main.js
    style.css styles.css apple-touch-icon.png
    """
)
SUFFIXES: Final = _words(
    """
    .js .css .png .gif .jpg .jpeg .svg .webp .ico .ics .vcf .eml .php .aspx .asmx .svc .owa .html .htm .woff .woff2
    .ttf .json .xml .map .txt .pdf .dll .crl .crt
    """
)
QUERY_NAMES: Final = _words(
    """
    cmd user deviceid devicetype collectionid itemid longid occurrence saveinsent acceptmultipart attachmentname
    _task _action _mbox _uid _page _search _sort _remote _unlock _token _auth _user _framed _safe _id _refresh
    folder folderid id page limit offset lang locale v version ver t ts view mode ui theme url replacecurrent reason
    action ns ev exsvurl email q sort order filter format type token
    """
)
QUERY_VALUES: Final = _words(
    """
    sync sendmail smartforward smartreply getattachment gethierarchy createcollection deletecollection
    movecollection foldersync foldercreate folderdelete folderupdate moveitems getitemestimate meetingresponse
    search settings ping itemoperations provision resolverecipients validatecert iphone ipad ipod android smartphone
    pocketpc outlook windowsoutlook15 windowsmail universaloutlook testactivesyncconnectivity list show preview
    compose refresh true false 0 1 2 yes no on off asc desc en en-us en-gb de de-de cs cs-cz
    """
)

# Of user agents, in lower case; products with a version are kept anyway.
AGENT_WORDS: Final = _words(
    """
    windows nt win64 win32 x64 wow64 macintosh intel mac os x cpu iphone ipad ipod like khtml gecko linux android
    mobile tablet u compatible msie trident rv en en-us en-gb de de-de cs cs-cz x86_64 i686 arm64 aarch64 ubuntu
    fedora x11 safari chrome firefox version build microsoft office outlook exchange activesync apple ios darwin
    cfnetwork http https bot + and
    """
)

# A detail is cut behind the longest of these with which it begins. The rest may hold names. All others are left out.
DETAILS: Final = (
    *("the client sent no certificate", "allowed without a certificate", "denied by the rule", "no rule matches"),
    *(
        "expired",
        "not valid before",
        "not issued by a CA that this site trusts",
        "the CA",
        "no valid path to a trusted CA",
    ),
    *("revoked", "the certificate has no e-mail address that this rule lets in", "the certificate has"),
    *("the certificate was issued by a CA that this rule does not name", "the certificate's subject has no"),
    *("the certificate's fingerprint is not in this rule's list", "the certificate is signed with", "the login"),
    *("the certificate is not readable DER", "the certificate's names", "the certificate satisfies the rule"),
    *("the login cannot be read", "an earlier login on this connection hides its user name", "the device"),
    *("the ActiveSync request has no device id", "the extended key usage does not include clientAuth"),
    *("the key usage does not include digitalSignature", "a CA certificate is not a client certificate"),
    *("the CA's own certificate is not a client certificate", "this site has no client_ca", "the Destination"),
    *(
        "too many failed attempts",
        "too many connections",
        "too many requests",
        "the body is longer than",
        "the URI is longer",
    ),
    *("the header section is longer", "the request was not complete within", "no data of the body arrived for"),
    *("the client closed the connection during the handshake", "the client went away during the handshake"),
    *("the client read nothing for", "the client did not take the answer in time", "the host belongs to another site"),
    *("the request has no Host field", "the path is not UTF-8", "some servers read a backslash as a slash"),
    *("'..' leads above the root", "the path can be read in too many ways", "no answer about the certificate within"),
    *("a line ends in a bare LF", "a malformed Content-Length", "the site is no longer served", "the server"),
)
