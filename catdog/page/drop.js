import { takePhotos } from './photo.js'

const where = document.getElementById('where'), heat = document.getElementById('heat'), hint = document.getElementById('hint')
let photo = null, key = ''

async function ask(path, file) {
  const form = new FormData()
  form.append('photos', file)
  const answer = await fetch(path, {method: 'POST', body: form, headers: key ? {'X-API-Key': key} : {}})
  if (answer.status === 401) {
    const given = prompt('This server asks for a key:')
    if (given) { key = given; return ask(path, file) }
  }
  const told = await answer.json()
  if (!answer.ok) throw Error(told.detail)
  return told.photos[0]
}

takePhotos(file => ask('predict', file), (file, row) => {
  photo = file
  where.hidden = !(row && row.label)
  heat.hidden = hint.hidden = true
})

// Where the answer depended on: the part of the photo that is shown to the network, darker where hiding it changed more
function paint(row) {
  const {grid, left, top, width, height} = row.where, most = Math.max(.02, ...grid.flat())
  Object.assign(heat.style, {left: 100*left+'%', top: 100*top+'%', width: 100*width+'%', height: 100*height+'%'})
  heat.width = grid[0].length
  heat.height = grid.length
  const pen = heat.getContext('2d')
  grid.forEach((cells, y) => cells.forEach((change, x) => {
    pen.fillStyle = `rgba(255, 60, 0, ${.75*Math.max(0, change)/most})`
    pen.fillRect(x, y, 1, 1)
  }))
  heat.hidden = hint.hidden = false
  hint.textContent = `Red: where hiding it made “${row.label}” less probable, by up to ${(100*Math.max(0, ...grid.flat())).toFixed(0)} points.`
}

where.onclick = async () => {
  where.disabled = true
  try { paint(await ask('explain', photo)) }
  catch (error) { hint.hidden = false; hint.textContent = error.message }
  where.disabled = false
}
