"""The report and the site as a reader sees them, in headless Chromium."""
import sys

import pytest
from conftest import ROOT, run


def test_report_opens_without_a_server(report, page):
    requests, errors = [], []
    page.on('request', lambda r: requests.append(r.url))
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.goto((report/'report.html').as_uri())
    assert 'is the most accurate' in page.inner_text('.answer')
    assert page.locator('svg').count() >= 6
    assert page.locator('table.runs').first.locator('tbody tr').count() == 2
    assert not errors and [r for r in requests if not r.startswith('file:')] == []


def test_report_sorts_by_a_click(report, page):
    page.goto((report/'report.html').as_uri())
    table = page.locator('table.runs').first
    header = table.locator('th', has_text='parameters')
    column = header.evaluate('th => th.cellIndex')
    values = lambda: [float(row.locator('td').nth(column).inner_text()) for row in table.locator('tbody tr').all()]
    header.locator('button').click()
    assert values() == sorted(values()) and len(set(values())) == 2
    header.locator('button').click()
    assert values() == sorted(values(), reverse=True)


def test_report_tells_numbers_and_switches_costs(report, page):
    page.goto((report/'report.html').as_uri())
    page.locator('#cost-latency .wide .tip').first.focus()      # as the keyboard does; a pointer may meet another dot's bar
    page.wait_for_function("getComputedStyle(document.getElementById('tip')).opacity === '1'")
    assert 'seed' in page.inner_text('#tip')
    page.locator('.tabs button', has_text='File size').click()
    assert page.locator('#cost-size').is_visible() and not page.locator('#cost-latency').is_visible()


@pytest.mark.parametrize('width', [1280, 390])
def test_report_fits_its_window(report, page, width):
    page.set_viewport_size(dict(width=width, height=800))
    page.goto((report/'report.html').as_uri())
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.locator('.wide svg').first.is_visible() == (width > 640)


@pytest.fixture(scope='module')
def site():
    if sys.version_info < (3, 11): pytest.skip('smalldocs needs Python 3.11')
    done = run(sys.executable, ROOT/'scripts'/'docs.py', cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stdout+done.stderr
    return ROOT/'_docs'


def test_site_has_every_notebook(site):
    pages = {p.stem for p in site.glob('*.html')}
    notebooks = {p.stem for p in (ROOT/'nbs').glob('*.ipynb')}
    assert notebooks-pages == set() or {n.split('_', 1)[-1] for n in notebooks}-{p.split('_', 1)[-1] for p in pages} == set()


def test_site_documents_parameters(site, page):
    errors = []
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.goto(next(site.glob('*metrics.html')).as_uri())
    text = page.inner_text('main')
    assert 'wilson_interval' in text and 'Number of photos classified correctly' in text
    page.goto((site/'index.html').as_uri())
    assert 'Which image backbone should I fine-tune' in page.inner_text('main')
    for image in page.locator('main img').all(): assert image.evaluate('i => i.complete && i.naturalWidth > 0'), image.get_attribute('src')
    assert not errors
