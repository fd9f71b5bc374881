import * as ort from './ort.wasm.bundle.min.mjs'
import { takePhotos } from './photo.js'

ort.env.wasm.numThreads = 1      // more need headers that a folder of files cannot send
ort.env.wasm.wasmPaths = new URL('./', import.meta.url).href

const ready = (async () => {
  const about = await (await fetch('about.json')).json()
  return {about, session: await ort.InferenceSession.create('model.onnx')}
})()

// Upright RGB on white, with no colours converted: what the Python side reads from the same file
async function pixelsOf(blob) {
  const photo = await createImageBitmap(blob, {colorSpaceConversion: 'none', imageOrientation: 'from-image'})
  const {width, height} = photo, pen = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true})
  pen.fillStyle = 'white'
  pen.fillRect(0, 0, width, height)
  pen.drawImage(photo, 0, 0)
  const rgba = pen.getImageData(0, 0, width, height).data, rgb = new Uint8Array(3*width*height)
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from]
    rgb[to++] = rgba[from+1]
    rgb[to++] = rgba[from+2]
  }
  return new ort.Tensor('uint8', rgb, [1, height, width, 3])
}

// Resizing, cropping and normalising are part of the model file
export async function classify(blob) {
  const {about, session} = await ready
  const answer = await session.run({[session.inputNames[0]]: await pixelsOf(blob)})
  const shares = Array.from(answer[session.outputNames[0]].data), sum = shares.reduce((a, b) => a+b)
  const probabilities = Object.fromEntries(about.classes.map((name, i) => [name, shares[i]/sum]))
  return {label: about.classes[shares.indexOf(Math.max(...shares))], probabilities}
}

const said = document.getElementById('said')
said.textContent = 'Loading the network …'
ready.then(() => { said.textContent = '' }, error => { said.textContent = `The network could not be loaded: ${error.message}` })
takePhotos(classify)
window.classify = classify
