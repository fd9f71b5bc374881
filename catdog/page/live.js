// The page without a server: the network runs here
import * as ort from './ort.wasm.bundle.min.mjs'
import { takePhotos } from './photo.js'

ort.env.wasm.numThreads = 1      // more need headers that a folder of files cannot send
ort.env.wasm.wasmPaths = new URL('./', import.meta.url).href

const ready = (async () => {
  const about = await (await fetch('about.json')).json()
  return {about, session: await ort.InferenceSession.create('model.onnx')}
})()

// Upright RGBA on white, with no colours converted: what the Python side reads from the same file
async function openPhoto(blob, longest = Infinity) {
  const unreadable = () => { throw Error('This browser cannot read that file as a picture: try a JPEG, PNG or WebP.') }
  const photo = await createImageBitmap(blob, {colorSpaceConversion: 'none', imageOrientation: 'from-image'}).catch(unreadable)
  const scale = Math.min(1, longest/Math.max(photo.width, photo.height))
  const [width, height] = [photo.width, photo.height].map(side => Math.max(1, Math.round(scale*side)))
  const pen = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true})
  pen.fillStyle = 'white'
  pen.fillRect(0, 0, width, height)
  pen.drawImage(photo, 0, 0, width, height)
  return {pen, width, height}
}

function pixelsOf({pen, width, height}) {
  const rgba = pen.getImageData(0, 0, width, height).data, rgb = new Uint8Array(3*width*height)
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from]
    rgb[to++] = rgba[from+1]
    rgb[to++] = rgba[from+2]
  }
  return new ort.Tensor('uint8', rgb, [1, height, width, 3])
}

// Resizing, cropping and normalising are part of the model file
async function sharesOf(picture) {
  const {session} = await ready
  const answer = await session.run({[session.inputNames[0]]: pixelsOf(picture)})
  const shares = Array.from(answer[session.outputNames[0]].data), sum = shares.reduce((a, b) => a+b)
  return shares.map(share => share/sum)
}

async function rowOf(shares) {
  const {about} = await ready
  const probabilities = Object.fromEntries(about.classes.map((name, i) => [name, shares[i]]))
  return {label: about.classes[shares.indexOf(Math.max(...shares))], probabilities}
}

export async function classify(blob) { return rowOf(await sharesOf(await openPhoto(blob))) }

// As the server does it: by how much the answer's probability falls where a patch of the middle square is grey
export async function explain(blob, cells = 7) {
  const picture = await openPhoto(blob, 512), {pen, width, height} = picture
  const short = Math.min(width, height), left = (width-short)/2, top = (height-short)/2, side = short/cells
  const untouched = pen.getImageData(0, 0, width, height), grid = []
  const whole = await sharesOf(picture), answer = whole.indexOf(Math.max(...whole))
  for (let y = 0; y < cells; y++) {
    grid.push([])
    for (let x = 0; x < cells; x++) {
      pen.fillStyle = 'rgb(124, 116, 104)'      // the mean of ImageNet's photos
      pen.fillRect(left+(x-.5)*side, top+(y-.5)*side, 2*side, 2*side)
      grid[y].push(whole[answer]-(await sharesOf(picture))[answer])
      pen.putImageData(untouched, 0, 0)
    }
  }
  return {...await rowOf(whole), where: {grid, left: left/width, top: top/height, width: short/width, height: short/height}}
}

// Pictures to try, where the page brings some
function offer(names, take) {
  const line = document.getElementById('examples')
  line.hidden = !names.length
  for (const name of names) {
    const button = document.createElement('button'), picture = document.createElement('img')
    picture.src = name
    picture.alt = `Try ${name.replace(/\.\w+$/, '')}`
    button.append(picture)
    button.onclick = async () => take(await (await fetch(name)).blob())
    line.append(button)
  }
}

const said = document.getElementById('said'), take = takePhotos(classify, explain)
said.textContent = 'Loading the network …'
ready.then(({about}) => { said.textContent = ''; offer(about.examples || [], take) },
  error => { said.textContent = `The network could not be loaded: ${error.message}` })
window.classify = classify
