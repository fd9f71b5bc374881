"""The chosen network at work: formats beside eager torch, a folder of photos beside one at a time, and a server at 64 clients."""
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import PHOTOS, arguments, find_photos, report, show, summary, take_turns, timed

COMMAND = [sys.executable, '-m', 'catdog']


def prepare(folder, arch, size, photos):
    "A network as torch runs it, and as artefacts in float and in bytes"
    from catdog.deploy.export import network_graph, write_artefact
    from catdog.deploy.predict import Artefact
    from catdog.deploy.quantize import calibrate, fold_network, quantize
    from catdog.evaluation.cost import torch_predict
    from catdog.evaluation.formats import prepare_pixels
    from catdog.models.backbone import build_model
    model, shape, _ = build_model(arch, 2, 'none', size)
    network = network_graph(model.eval(), shape)
    folded = fold_network(network)
    graphs = {'onnx': network, 'int8': quantize(folded, calibrate(folded, prepare_pixels(photos[:64], shape)))}
    for name, graph in graphs.items(): write_artefact(folder/f'{name}.onnx', graph, shape, ['cat', 'dog'])
    return {'torch': torch_predict(model, shape), **{name: Artefact(folder/f'{name}.onnx').probabilities for name in graphs}}


def milliseconds(label, jpegs):
    "Median of one photo after the other, from bytes to probabilities"
    return 1000*float(np.median([timed(lambda: label(jpeg))[0] for jpeg in jpegs]))


def label_folder(model, photos, batch_size):
    "Photos a second of a folder"
    from catdog.deploy.predict import Predictor, describe_photos
    seconds, rows = timed(lambda: list(describe_photos(Predictor(model), photos, batch_size)))
    return len(rows)/seconds


def label_singly(model, photos):
    "Photos a second, one after the other"
    from catdog.deploy.predict import Predictor
    predictor = Predictor(model)
    return len(photos)/timed(lambda: [predictor.describe(photo) for photo in photos])[0]


def start_server(model):
    "A server's process and address, and the seconds until it was ready"
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    process, start = subprocess.Popen([*COMMAND, 'serve', str(model), '--port', str(port)]), time.perf_counter()
    while True:
        try:
            urllib.request.urlopen(f'http://127.0.0.1:{port}/ready', timeout=5).close()
            return process, f'http://127.0.0.1:{port}', time.perf_counter()-start
        except OSError:
            if time.perf_counter()-start > 60: raise SystemExit('the server did not start') from None
            time.sleep(.02)


def load_server(address, jpegs, clients=64):
    "Photos a second of that many clients, and the seconds each waited"
    def ask(jpeg):
        def post(): return urllib.request.urlopen(urllib.request.Request(f'{address}/predict', data=jpeg), timeout=60).read()
        seconds, answer = timed(post)
        if 'label' not in json.loads(answer)['photos'][0]: raise SystemExit(f'the server answered {answer[:200]}')
        return seconds
    with ThreadPoolExecutor(clients) as pool: total, waited = timed(lambda: list(pool.map(ask, jpegs)))
    return len(jpegs)/total, waited


def main():
    args = arguments(__doc__, repeats=3, arch=('tf_efficientnet_lite0', 'the network'), size=(224, 'side of its input'), photos=(400, 'photos of a folder'))
    found = sorted(find_photos(PHOTOS).rglob('*.jpg'))[:args.photos]
    jpegs = [path.read_bytes() for path in found[:60]]
    with tempfile.TemporaryDirectory(prefix='catdog-') as folder:
        folder = Path(folder)
        ways = prepare(folder, args.arch, args.size, found)
        times = take_turns(ways, args.repeats, lambda label: milliseconds(label, jpegs))
        model = folder/'onnx.onnx'
        cold = [timed(lambda: subprocess.run([*COMMAND, 'predict', model, found[0]], check=True, capture_output=True))[0] for _ in range(args.repeats)]
        rates = take_turns({'one at a time': lambda: label_singly(model, found), 'in batches': lambda: label_folder(model, found, 16)}, args.repeats)
        process, address, ready = start_server(model)
        try: served, waited = load_server(address, [path.read_bytes() for path in found])
        finally:
            process.terminate()
            process.wait(30)
    rows = [(f'{name}, one photo, ms', show(values, 1)) for name, values in times.items()]
    rows += [('catdog predict of one photo in a new process, s', show(cold, 2))]
    rows += [(f'a folder, {name}, photos/s', show(values)) for name, values in rates.items()]
    rows += [('server ready after, s', f'{ready:.2f}'), ('server, 64 clients, photos/s', f'{served:.0f}')]
    rows += [('server, p50 and p99, ms', f'{1000*np.median(waited):.0f} and {1000*np.percentile(waited, 99):.0f}')]
    middle = {name: summary(values)['median'] for name, values in {**times, **rates}.items()}
    targets = [('torch over onnx', middle['torch']/middle['onnx'], 1.5, True), ('torch over int8', middle['torch']/middle['int8'], 3, True),
        ('cold predict, s', summary(cold)['median'], .8, False), ('server over a folder in batches', served/middle['in batches'], .8, True),
        ('server ready, s', ready, 2, False)]
    report('deploy', f'{args.arch} at {args.size} px on {len(found)} photos', ['what', 'figure'], rows, args, targets)


if __name__ == '__main__': main()
