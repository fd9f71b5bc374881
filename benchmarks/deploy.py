"""The chosen network at work: formats beside eager torch, a folder of photos, a server at 64 clients, and 20,000 requests.

Parts can be measured one at a time (--part formats); with --json each is added to the record that is there. The whole takes about
seven minutes on two idle cores, and tells each part as it ends; interrupted, the same command goes on with the part it was at.
"""
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import PHOTOS, arguments, find_photos, ratios, report, show, summary, take_turns, timed

COMMAND = [sys.executable, '-m', 'catdog']
ARCHS = ['tf_efficientnet_lite0', 'resnet50', 'tf_mobilenetv3_small_100']
BARE = """
import io, json, sys
import numpy as np
import onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
photo = np.asarray(Image.open(sys.argv[2]).convert('RGB'))[None]
print(session.run(None, {session.get_inputs()[0].name: photo})[0])
"""


def find_network(args, arch):
    "A finished run of this network with its artefacts in float and in bytes; a fresh one where --runs has none"
    found = [folder for folder in Path(args.runs).glob(f'{arch}-*') if (folder/'run.json').is_file() and not folder.name.endswith('-int8')]
    return found[0] if found else None


def prepare(folder, arch, size, photos, run=None):
    "A network as torch runs it, and as artefacts in float and in bytes"
    from catdog.deploy.export import network_graph, write_artefact
    from catdog.deploy.predict import Artefact
    from catdog.deploy.quantize import calibrate, fold_network, quantize
    from catdog.evaluation.cost import torch_predict
    from catdog.evaluation.formats import prepare_pixels
    from catdog.models.backbone import build_model, load_model
    if run and (in_bytes := run.with_name(f'{run.name}-int8')).is_dir():
        model, _, shape = load_model(run/'model.safetensors')
        files = {'onnx': run/'model.onnx', 'int8': in_bytes/'model.onnx'}
    else:
        model, shape, _ = build_model(arch, 2, 'none', size)
        network = network_graph(model.eval(), shape)
        folded = fold_network(network)
        graphs = {'onnx': network, 'int8': quantize(folded, calibrate(folded, prepare_pixels(photos[:64], shape)))}
        files = {name: write_artefact(folder/f'{arch}-{name}.onnx', graph, shape, ['cat', 'dog']) for name, graph in graphs.items()}
    return {'torch': torch_predict(model.eval(), shape), **{name: Artefact(file).probabilities for name, file in files.items()}}, files


def milliseconds(label, jpegs):
    "Median of one photo after the other, from bytes to probabilities"
    return 1000*float(np.median([timed(lambda: label(jpeg))[0] for jpeg in jpegs]))


def accuracies(run):
    "How many points of accuracy a run has on its test photos, and its candidate in bytes"
    def of(folder): return 100*json.loads((folder/'run.json').read_text())['metrics']['accuracy']
    return of(run), of(run.with_name(f'{run.name}-int8'))


def measure_formats(folder, args, photos):
    "One photo from JPEG bytes to a label, by torch, onnxruntime, and in bytes"
    from catdog.deploy.quantize import multiplies_bytes
    jpegs, rows, targets = [path.read_bytes() for path in photos[:40]], [], []
    for arch in args.archs:
        run = find_network(args, arch)
        ways, _ = prepare(folder, arch, args.size, photos, run)
        times = take_turns(ways, args.repeats, lambda label: milliseconds(label, jpegs))
        rows += [(f'{arch}, {name}, one photo, ms', show(values, 1)) for name, values in times.items()]
        faster = {name: summary(ratios(times, 'torch', name))['median'] for name in ('onnx', 'int8')}
        targets.append((f'{arch}: torch over onnx', faster['onnx'], 1.5, True))
        if multiplies_bytes(): targets.append((f'{arch}: torch over int8', faster['int8'], 3, True))
        if run and run.with_name(f'{run.name}-int8').is_dir():
            exact, in_bytes = accuracies(run)
            rows.append((f'{arch}, accuracy in float and in bytes, %', f'{exact:.1f} and {in_bytes:.1f}'))
            targets.append((f'{arch}: points lost in bytes', exact-in_bytes, .3, False))
    return rows, targets


def start_cold(model, photo, repeats):
    "Seconds of a new process for one photo, beside the least that onnxruntime needs"
    commands = {'catdog predict': [*COMMAND, 'predict', model, photo], 'bare onnxruntime': [sys.executable, '-c', BARE, model, photo]}
    def start(words): return timed(lambda: subprocess.run([str(word) for word in words], check=True, capture_output=True))[0]
    take_turns(commands, 1, start)            # files into memory
    return take_turns(commands, repeats, start)


def label_folder(model, photos, repeats):
    "Photos a second of a folder, of one photo after the other, and of decoding and the network alone"
    from catdog.deploy.predict import Artefact, Predictor, describe_photos, to_square
    from catdog.photos.decode import open_photo
    predictor, artefact, some = Predictor(model, spinning=False), Artefact(model), photos[:400]
    def read(path): return to_square(open_photo(path.read_bytes()), artefact.shape)
    def decode():
        with ThreadPoolExecutor() as pool: return list(pool.map(read, some))
    squares = decode()
    def network(): return [artefact.square_probabilities(squares[i:i+16]) for i in range(0, len(squares), 16)]
    def folder(): return list(describe_photos(predictor, photos))
    def one_at_a_time(): return [predictor.describe(path) for path in some[:200]]
    ways = {'decode alone': (decode, len(some)), 'network alone': (network, len(some)), 'folder': (folder, len(photos)),
        'one at a time': (one_at_a_time, len(some[:200]))}
    return take_turns(ways, repeats, lambda way: way[1]/timed(way[0])[0])


def measure_predict(folder, args, photos):
    "A new process for one photo, and a folder beside its parts alone"
    arch = args.archs[0]
    _, files = prepare(folder, arch, args.size, photos, find_network(args, arch))
    cold = start_cold(files['onnx'], photos[0], 5*args.repeats)
    rates = label_folder(files['onnx'], photos, args.repeats)
    middle = {name: summary(values)['median'] for name, values in {**cold, **rates}.items()}
    together = 1/(1/middle['decode alone']+1/middle['network alone'])
    rows = [(f'{name} of one photo in a new process, s', show(values, 2)) for name, values in cold.items()]
    rows += [(f'{len(photos):,} photos, {name}, photos/s', show(values)) for name, values in rates.items()]
    targets = [('cold predict, s', middle['catdog predict'], .8, False),
        ('cold predict over bare onnxruntime', summary(ratios(cold, 'catdog predict', 'bare onnxruntime'))['median'], 1.5, False),
        ('a folder over decode and network apart', middle['folder']/together, .9, True)]
    return rows, targets


def start_server(model):
    "A server's process and port, and the seconds until it was ready"
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    process, start = subprocess.Popen([*COMMAND, 'serve', str(model), '--port', str(port)]), time.perf_counter()
    while True:
        try:
            urllib.request.urlopen(f'http://127.0.0.1:{port}/ready', timeout=5).close()
            return process, port, time.perf_counter()-start
        except OSError:
            if time.perf_counter()-start > 60: raise SystemExit('the server did not start') from None
            time.sleep(.02)


def load_server(port, jpegs, clients=64):
    "Photos a second of that many clients, each on a connection of its own, and the seconds each photo waited"
    own = threading.local()
    def ask(jpeg):
        if not hasattr(own, 'line'): own.line = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        def post():
            own.line.request('POST', '/predict', jpeg)
            return own.line.getresponse().read()
        seconds, answer = timed(post)
        if b'"label"' not in answer: raise SystemExit(f'the server answered {answer[:200]}')
        return seconds
    with ThreadPoolExecutor(clients) as pool: total, waited = timed(lambda: list(pool.map(ask, jpegs)))
    return len(jpegs)/total, waited


def measure_server(folder, args, photos):
    "64 clients at once, beside the same photos as a folder"
    from catdog.deploy.predict import Predictor, describe_photos
    _, files = prepare(folder, args.archs[0], args.size, photos, find_network(args, args.archs[0]))
    some = photos[:1000]
    jpegs, predictor, waited, ready = [path.read_bytes() for path in some], Predictor(files['onnx'], spinning=False), [], []
    def served():
        process, port, seconds = start_server(files['onnx'])
        ready.append(seconds)
        try: rate, seconds = load_server(port, jpegs)
        finally:
            process.terminate()
            process.wait(30)
        waited.extend(seconds)
        return rate
    ways = {'server': served, 'folder': lambda: len(some)/timed(lambda: list(describe_photos(predictor, some)))[0]}
    rates = take_turns(ways, args.repeats)
    middle = {name: summary(values)['median'] for name, values in rates.items()}
    rows = [('server at 64 clients, photos/s', show(rates['server'])), ('the same photos as a folder, photos/s', show(rates['folder'])),
        ('server, p50 and p99 of an answer, ms', f'{1000*np.median(waited):.0f} and {1000*np.percentile(waited, 99):.0f}'),
        ('server started and ready, s', show(ready, 2))]
    share = middle['server']/middle['folder']
    targets = [('server over a folder', share, .8, True), ('server ready, s', summary(ready)['median'], 2, False)]
    return rows, targets


def measure_memory(folder, args, photos):
    "A server's memory over many requests, with a small network"
    import psutil
    _, files = prepare(folder, 'test_resnet', 64, photos)
    jpegs = [path.read_bytes() for path in photos[:50]]
    process, port, _ = start_server(files['onnx'])
    kept, rates, count = [], [], args.requests//10
    some = (jpegs*(count//len(jpegs)+1))[:count]
    try:
        for turn in range(10):
            rates.append(load_server(port, some, 32)[0])
            kept.append(psutil.Process(process.pid).memory_info().rss/2**20)
            print(f'{(turn+1)*count:,} requests: {kept[-1]:.0f} MiB, {rates[-1]:.0f} photos/s', flush=True)
    finally:
        process.terminate()
        process.wait(30)
    rows = [(f'memory after {count:,} and {10*count:,} requests, MiB', f'{kept[0]:.0f} and {kept[-1]:.0f}'),
        ('small network, 32 clients, photos/s', show(rates))]
    return rows, [(f'memory after {10*count:,} requests over that after a tenth', kept[-1]/kept[0], 1.05, False)]


PARTS = {'formats': measure_formats, 'predict': measure_predict, 'server': measure_server, 'memory': measure_memory}


def read_parts(file):
    "The parts that a file holds, none where there is no file"
    return json.loads(file.read_text()).get('parts', {}) if file and file.is_file() else {}


def measure_part(name, args, photos):
    "One part's rows and targets, told as they are known"
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        seconds, (rows, targets) = timed(lambda: PARTS[name](Path(folder), args, photos))
    for text, figure in rows: print(f'{text}: {figure}')
    print(f'{name}: done in {seconds:.0f} s\n', flush=True)
    return rows, targets


def measure_all(args, photos):
    "All parts; those measured before an interruption are kept beside the record until the whole is there"
    unfinished = args.json.with_suffix('.unfinished') if args.json else None
    parts = read_parts(unfinished)
    for name in PARTS:
        if name in parts: continue
        parts[name] = measure_part(name, args, photos)
        if unfinished: unfinished.write_text(json.dumps(dict(parts=parts)))
    if unfinished: unfinished.unlink()
    return parts


def main():
    more = dict(archs=(ARCHS, 'the networks; the first is served'), size=(224, 'side of their input'), photos=(2500, 'photos of a folder'),
        part=('all', f"what to measure: all, {', '.join(PARTS)}"), requests=(20_000, 'for the memory'),
        runs=('runs', 'folder of finished runs and their candidates in bytes (catdog export); fresh networks where it has none'))
    args = arguments(__doc__, repeats=3, **more)
    photos = sorted(find_photos(PHOTOS).parent.rglob('*.jpg'))[:args.photos]
    parts = measure_all(args, photos) if args.part == 'all' else {**read_parts(args.json), args.part: measure_part(args.part, args, photos)}
    rows = [row for part in parts.values() for row in part[0]]
    targets = [target for part in parts.values() for target in part[1]]
    report('deploy', f'{args.size} px, {len(photos):,} photos', ['what', 'figure'], rows, args, targets, parts=parts)


if __name__ == '__main__': main()
