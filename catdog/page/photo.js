// What the server's page and the page without a server share: choosing a photo, and showing what was said of it
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
    line.insertCell().textContent = (100*share).toFixed(1)+' %'
  }
}

export function takePhotos(label, chosen = () => {}) {
  let url = ''
  async function take(file) {
    if (!file) return
    URL.revokeObjectURL(url)
    url = URL.createObjectURL(file)
    part('seen').src = url
    part('figure').hidden = false
    part('shares').replaceChildren()
    part('said').textContent = 'Looking …'
    chosen(file, null)
    const row = await label(file).catch(error => ({error: String(error.message || error)}))
    show(row)
    chosen(file, row)
  }
  part('file').onchange = event => take(event.target.files[0])
  const drop = part('drop')
  drop.ondragover = event => { event.preventDefault(); drop.classList.add('over') }
  drop.ondragleave = () => drop.classList.remove('over')
  drop.ondrop = event => { event.preventDefault(); drop.classList.remove('over'); take(event.dataTransfer.files[0]) }
}
