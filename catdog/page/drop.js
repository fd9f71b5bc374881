// The server's page: the server looks at the photo
import { takePhotos } from './photo.js'

let key = ''

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

takePhotos(file => ask('predict', file), file => ask('explain', file))
