"""The report and the site as a reader sees them, in headless Chromium."""
import json
import re

import pytest
from conftest import ROOT, render_site


def test_report_opens_without_a_server(report, page):
    requests, errors = [], []
    page.on('request', lambda r: requests.append(r.url))
    page.on('pageerror', lambda e: errors.append(str(e)))
    page.goto((report/'report.html').as_uri())
    assert re.search('right most often here|accuracy of|shown to do better', page.inner_text('.answer'))
    assert page.locator('svg').count() >= 6
    assert page.locator('table.sortable', has_text='parameters').first.locator('tbody tr').count() == 2
    assert not errors and [r for r in requests if not r.startswith('file:')] == []


def test_report_sorts_by_a_click(report, page):
    page.goto((report/'report.html').as_uri())
    table = page.locator('table.sortable', has_text='parameters').first
    header = table.locator('th', has_text='parameters')
    column = header.evaluate('th => th.cellIndex')
    values = lambda: [float(row.locator('td, th').nth(column).inner_text()) for row in table.locator('tbody tr').all()]
    header.locator('button').click()
    assert values() == sorted(values()) and len(set(values())) == 2
    header.locator('button').click()
    assert values() == sorted(values(), reverse=True)


def test_report_tells_numbers_and_switches_costs(report, page):
    page.goto((report/'report.html').as_uri())
    page.locator('#cost-latency .wide .tip[data-setup]').first.focus()      # as the keyboard does; a pointer may meet another dot's bar
    page.locator('#tip[style*="opacity: 1"]').wait_for()
    assert 'seed' in page.inner_text('#tip')
    page.locator('.tabs button', has_text='File size').click()
    assert page.locator('#cost-size').is_visible() and not page.locator('#cost-latency').is_visible()


@pytest.mark.parametrize('width', [1280, 390])
def test_report_fits_its_window(report, page, width):
    page.set_viewport_size(dict(width=width, height=800))
    page.goto((report/'report.html').as_uri())
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    assert page.locator('.wide svg').first.is_visible() == (width > 640)


HOSTILE = '</script><script>window.hit = 1</script><img src=x onerror="window.hit = 2">$x^2$ | \'"&'


def spoil(value):
    "The same record with a hostile ending to each of its texts"
    if isinstance(value, str): return value+HOSTILE
    if isinstance(value, dict): return {key: spoil(one) for key, one in value.items()}
    return [spoil(one) for one in value] if isinstance(value, list) else value


@pytest.fixture(scope='module')
def hostile(tmp_path_factory):
    "Runs whose records, labels and setups are full of script"
    import pandas as pd
    from catdog.comparison.example import write_example_run
    from catdog.training.run import Run
    root = tmp_path_factory.mktemp('hostile')
    extra = dict(also={'zoo'+HOSTILE: dict(photos=50, accuracy=.8)}, robustness=[dict(kind='blur', severity=1, photos=100, accuracy=.8)],
        scaling=[dict(what='batch_size', value=8, images_per_second=90.)])
    for arch, accuracy in (('resnet18', .8), ('baseline', .7)):
        folder = write_example_run(root/'runs', arch, 0, accuracy, photos=60, **extra)
        kept = {name: Run(folder).info[name] for name in ('status',)}
        record = json.loads((folder/'run.json').read_text())
        for name in ('weights', 'hardware', 'versions', 'also', 'robustness', 'scaling', 'name'): record[name] = spoil(record.get(name))
        record['config'].update(arch=arch+HOSTILE, data='pets'+HOSTILE)
        (folder/'run.json').write_text(json.dumps({**record, **kept}))
        table = pd.read_parquet(folder/'predictions.parquet')
        table['label'] += HOSTILE
        table.rename(columns={f'p_{name}': f'p_{name}{HOSTILE}' for name in ('cat', 'dog')}).to_parquet(folder/'predictions.parquet')
    (root/'runs'/('torn'+HOSTILE.replace('/', ''))).mkdir()
    (root/'runs'/('torn'+HOSTILE.replace('/', ''))/'run.json').write_text('{')
    return root


def test_no_text_of_a_record_becomes_markup(hostile, page):
    from catdog.comparison.compare import compare_runs
    from catdog.comparison.gather import read_runs
    from catdog.comparison.report import write_report
    path = write_report(compare_runs(*read_runs(hostile/'runs')), hostile/'report')
    page.goto(path.as_uri())
    assert page.evaluate('window.hit') is None
    assert page.locator('script').count() == 1 and page.locator('[onerror]').count() == 0
    assert 'onerror' in page.inner_text('body')      # it is there, as text
    page.goto('about:blank')
    page.set_content(re.sub('<meta http-equiv[^>]*>', '', path.read_text()))     # escaped, even where no policy would stop it
    page.wait_for_timeout(300)
    assert page.evaluate('window.hit') is None
    markdown = (path.parent/'comparison.md').read_text()
    assert '<' not in markdown and len({len(re.findall(r'(?<!\\)\|', line)) for line in markdown.splitlines()}) == 1


@pytest.fixture(scope='module')
def site(): return render_site()


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
