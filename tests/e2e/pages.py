"""A browser of the server's own pages, without scripts: cookies, redirects, links and forms."""

import http.client
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

REQUEST_LIMIT_S = 60


class Parser(HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms, self.links, self.text, self.link = [], [], [], None

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag == "form":
            self.forms.append({"action": values["action"], "fields": {}, "buttons": []})
        elif tag == "input" and values.get("type") != "checkbox":
            self.forms[-1]["fields"][values["name"]] = values.get("value", "")
        elif tag == "button" and values.get("name"):
            self.forms[-1]["buttons"].append((values["name"], values["value"]))
        elif tag == "a":
            self.link = ["", values["href"]]

    def handle_endtag(self, tag):
        if tag == "a":
            self.links.append(tuple(self.link))
            self.link = None

    def handle_data(self, data):
        if self.link:
            self.link[0] += data
        self.text.append(data)


class Page:
    """One page, after redirects within the server; `left` is the address outside of it that it led to, if any."""

    def __init__(self, browser, url, status, headers, raw, left=None):
        self.browser, self.url, self.status, self.headers, self.left = browser, url, status, headers, left
        self.raw = raw.decode()
        parser = Parser()
        parser.feed(self.raw if "html" in (headers.get("Content-Type") or "") else "")
        self.forms, self.links = parser.forms, parser.links
        self.text = " ".join(" ".join(parser.text).split())

    def submit(self, form=0, **fields):
        """Posts a form with what stands in it and these fields; None leaves one out."""
        chosen = self.forms[form]
        filled = {k: v for k, v in {**chosen["fields"], **fields}.items() if v is not None}
        return self.browser.post(urljoin(self.url, chosen["action"]), filled)

    def follow(self, text):
        return self.browser.get(urljoin(self.url, next(href for said, href in self.links if text in said)))


class Browser:
    def __init__(self, base):
        self.base, self.cookies = base, {}

    def get(self, url, stop_at=None):
        """stop_at: a path that is not gone to; the page is then the redirect to it."""
        return self.go("GET", urljoin(self.base, url), stop_at=stop_at)

    def post(self, url, fields):
        return self.go("POST", urljoin(self.base, url), urlencode(fields))

    def go(self, method, url, body=None, stop_at=None):
        for _ in range(10):
            parts = urlsplit(url)
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=REQUEST_LIMIT_S)
            headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}
            if body is not None:
                headers["Content-Type"] = "application/x-www-form-urlencoded"
            connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers)
            answer = connection.getresponse()
            raw = answer.read()
            connection.close()
            self.take_cookies(answer.headers)
            target = answer.headers.get("Location")
            if answer.status != 303:
                return Page(self, url, answer.status, answer.headers, raw)
            method, body = "GET", None
            if not urljoin(url, target).startswith(self.base + "/"):
                return Page(self, url, answer.status, answer.headers, raw, left=target)
            url = urljoin(url, target)
            if urlsplit(url).path == stop_at:
                return Page(self, url, answer.status, answer.headers, raw, left=url)
        raise AssertionError(f"the pages lead in circles: {url}")

    def take_cookies(self, headers):
        for line in headers.get_all("Set-Cookie") or []:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
