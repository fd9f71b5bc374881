"""The site: no dead link, nothing of another host, readable in both schemes and both widths, and a search that works where it is served."""
import functools
import http.server
import re
import threading
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag, urlparse

import pytest
from conftest import ROOT, render_site

GUIDES = ('index', 'start', 'photos', 'labels', 'budget', 'machines', 'options', 'questions')
LOOKED_AT = (*GUIDES, 'results', 'training.run')
RULES = ('color-contrast', 'image-alt', 'link-name', 'button-name', 'label', 'document-title', 'html-has-lang', 'list',
    'duplicate-id-active')


@pytest.fixture(scope='module')
def site(): return render_site()


class Targets(HTMLParser):
    "What a page links to, what it loads, and the places in it that can be linked to"
    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.places = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        has = dict(attributes)
        self.places |= {has[name] for name in ('id', 'name') if has.get(name)}
        if tag == 'a' and has.get('href'): self.links.append(has['href'])
        if tag in ('img', 'script', 'iframe', 'source') and has.get('src'): self.loaded.append(has['src'])
        if tag == 'link' and has.get('rel') not in ('canonical', 'next', 'prev'): self.loaded.append(has.get('href') or '')


@pytest.fixture(scope='module')
def pages(site): return {path.relative_to(site).as_posix(): Targets(path.read_text()) for path in site.rglob('*.html')}


def test_every_link_arrives(site, pages):
    dead = []
    for name, page in pages.items():
        for link in page.links:
            address, place = urldefrag(link)
            if urlparse(address).scheme: continue
            target = (site/name).parent.joinpath(unquote(address)).resolve() if address else site/name
            if not target.exists(): dead.append(f'{name}: {link}')
            elif place and target.suffix == '.html':
                if place not in pages[target.relative_to(site).as_posix()].places: dead.append(f'{name}: {link}')
    assert not dead, '\n'.join(dead[:20])


def test_nothing_is_loaded_from_another_host(site, pages):
    fetched = [f'{name}: {source}' for name, page in pages.items() for source in page.loaded if re.match('(https?:)?//', source)]
    fetched += [f'{style.name}: {address}' for style in site.rglob('*.css')
        for address in re.findall(r'(?:@import\s+|url\()["\']?((?:https?:)?//[^"\')]+)', style.read_text()) if 'www.w3.org' not in address]
    assert not fetched, '\n'.join(fetched[:20])


def test_every_page_has_a_title_an_introduction_and_no_error(site, pages):
    for name in pages:
        text = (site/name).read_text()
        assert re.search(r'<title>[^<]{3,}', text), name
        assert '__main__.' not in re.sub('<[^>]+>', '', text) and 'Traceback (most recent call last)' not in text, name
        assert len(re.sub('<[^>]+>', '', text.partition('<main')[2])) > 400, f'{name} is all but empty'


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass


@pytest.fixture(scope='module')
def address(site):
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.mark.parametrize('scheme, width', [('light', 1280), ('dark', 390)])
def test_pages_can_be_read(address, page, scheme, width):
    from axe_core_python.sync_playwright import Axe
    page.emulate_media(color_scheme=scheme, reduced_motion='reduce')
    page.set_viewport_size(dict(width=width, height=900))
    asked, found = [], []
    page.on('request', lambda request: asked.append(request.url))
    for name in LOOKED_AT:
        page.goto(f'{address}/{name}.html')
        wide = page.evaluate('document.documentElement.scrollWidth')
        if wide > width: found.append(f'{name} is {wide} wide at {width}')
        result = Axe().run(page, options=dict(runOnly=dict(type='rule', values=list(RULES))))
        for violation in result['violations']:
            found += [f"{name}: {violation['id']}: {node['html'][:120]}" for node in violation['nodes'][:3]]
    assert not found, '\n'.join(found)
    assert [url for url in asked if not url.startswith((address, 'data:', 'blob:'))] == []


def test_search_finds_a_function_where_the_site_is_served(address, page):
    page.goto(f'{address}/index.html')
    box = page.locator('#quarto-search input, .smalldocs-search input').first
    box.fill('wilson_interval')
    hit = page.locator('.smalldocs-search-results a, .aa-Item a').first
    hit.wait_for(timeout=10_000)
    assert 'metrics' in hit.get_attribute('href') or 'statistics' in hit.get_attribute('href')


def test_the_sidebar_has_every_page():
    named = set(re.findall(r'([\w.]+)\.ipynb', (ROOT/'_quarto.yml').read_text()))
    assert {path.stem for path in (ROOT/'nbs').glob('*.ipynb')}-named == set()
