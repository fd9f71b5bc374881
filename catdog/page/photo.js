// What the server's page and the page without a server share: choosing a photo, what was said of it, and where the answer came from
const part = id => document.getElementById(id)

function show(row) {
  part('said').textContent = row.error || row.label
  part('shares').replaceChildren()
  const shares = Object.entries(row.probabilities || {}).sort((a, b) => b[1]-a[1]).slice(0, 5)
  for (const [name, share] of shares) {
    const line = part('shares').insertRow(), bar = document.createElement('meter')
    bar.value = share
    bar.setAttribute('aria-label', name)
    line.insertCell().textContent = name
    line.insertCell().append(bar)
    line.insertCell().textContent = (100*share).toFixed(1)+'%'
  }
}

// The part of the photo that is shown to the network, darker where hiding it made the answer less probable
function paint(row) {
  const {grid, left, top, width, height} = row.where, heat = part('heat')
  const greatest = Math.max(0, ...grid.flat()), most = Math.max(.02, greatest)
  Object.assign(heat.style, {left: 100*left+'%', top: 100*top+'%', width: 100*width+'%', height: 100*height+'%'})
  heat.width = grid[0].length
  heat.height = grid.length
  const pen = heat.getContext('2d')
  grid.forEach((cells, y) => cells.forEach((change, x) => {
    pen.fillStyle = `rgba(255, 60, 0, ${.75*Math.max(0, change)/most})`
    pen.fillRect(x, y, 1, 1)
  }))
  heat.hidden = false
  const points = 100*greatest, red = `Red: where hiding it made “${row.label}” less probable, by up to ${points.toFixed(points < 10 ? 1 : 0)} points.`
  part('hint').textContent = points >= .05 ? red : `Hiding any one place made “${row.label}” no less probable.`
}

async function explainWith(explain, photo) {
  const button = part('where'), hint = part('hint')
  button.disabled = true
  hint.hidden = false
  hint.textContent = 'Hiding one place after another …'
  try {
    const row = await explain(photo())
    if (row.error) throw Error(row.error)
    paint(row)
  } catch (error) { hint.textContent = error.message }
  button.disabled = false
}

// `label` and `explain` take a photo's file; the one gives its label and probabilities, the other `where` as well
export function takePhotos(label, explain) {
  let url = '', photo = null
  async function take(file) {
    if (!file) return
    URL.revokeObjectURL(url)
    url = URL.createObjectURL(file)
    photo = file
    part('seen').src = url
    part('figure').hidden = false
    part('heat').hidden = part('hint').hidden = part('where').hidden = true
    part('shares').replaceChildren()
    part('said').textContent = 'Looking …'
    const row = await label(file).catch(error => ({error: String(error.message || error)}))
    if (photo !== file) return      // another was chosen meanwhile
    show(row)
    part('where').hidden = !row.label || part('figure').hidden
  }
  part('seen').onerror = () => { part('figure').hidden = part('where').hidden = true }      // of no format that this browser shows
  part('where').onclick = () => explainWith(explain, () => photo)
  part('file').onchange = event => take(event.target.files[0])
  const drop = part('drop')
  drop.ondragover = event => { event.preventDefault(); drop.classList.add('over') }
  drop.ondragleave = () => drop.classList.remove('over')
  drop.ondrop = event => { event.preventDefault(); drop.classList.remove('over'); take(event.dataTransfer.files[0]) }
  return take
}
