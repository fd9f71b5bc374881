// Verdicts on labels. Served, each goes to the server at once; in a file, they stay in this browser and are handed out as review.csv.
const desk = JSON.parse(document.getElementById('desk').textContent);
const token = new URLSearchParams(location.search).get('token') || '';
const byHash = new Map(desk.photos.map(photo => [photo.sha256, photo]));
const shelf = 'catdog-review-' + desk.page;
const undone = JSON.parse(!desk.served && localStorage.getItem(shelf+'-undo') || '[]');     // of a file: what each verdict replaced
const many = desk.classes.length > 9;     // classes: those that are likely get a button, the others are typed
let at = 0;

const part = id => document.getElementById(id);
const made = (tag, text) => Object.assign(document.createElement(tag), {textContent: text ?? ''});
const percent = share => Number.isFinite(share) ? (100*share).toFixed(1) : '–';
const picture = (photo, side) => photo.picture || `photo/${photo.sha256}?side=${side}&token=${encodeURIComponent(token)}`;
const decided = photo => photo.verdict === 'relabel' ? photo.new_label : photo.verdict;

// ---- where verdicts are kept

let asked = Promise.resolve();

function ask(address, body) {      // one after the other: an older answer must not arrive last and hide a verdict
  const answer = asked.then(() => send(address, body));
  asked = answer.catch(() => {});
  return answer;
}

async function send(address, body) {
  const headers = {'X-Catdog-Token': token};
  const answer = await fetch(address, body ? {method: 'POST', headers, body: JSON.stringify(body)} : {headers});
  const told = await answer.json();
  if (told.photos) take(told);
  if (!answer.ok) throw new Error(told.detail);
}

function take(told) {      // the verdicts as they are in review.csv
  for (const photo of desk.photos) Object.assign(photo, {verdict: '', new_label: ''}, told.photos[photo.sha256]);
  desk.runs = told.runs;
  desk.undo = told.undo;
}

function put(sha256, verdict, label) {
  Object.assign(byHash.get(sha256), {verdict, new_label: label});
  const kept = desk.photos.filter(photo => photo.verdict).map(photo => [photo.sha256, photo.verdict, photo.new_label]);
  localStorage.setItem(shelf, JSON.stringify(kept));
  localStorage.setItem(shelf+'-undo', JSON.stringify(undone));
  desk.undo = undone.length;
}

async function keepVerdict(photo, verdict, label) {
  if (desk.served) return ask('verdict', {sha256: photo.sha256, verdict, label, expected: [photo.verdict, photo.new_label]});
  undone.push([photo.sha256, photo.verdict, photo.new_label]);
  put(photo.sha256, verdict, label);
}

async function takeBack() {
  if (desk.served) return ask('undo', {});
  if (undone.length) put(...undone.pop());
}

// ---- what a person does

async function attempt(work, said) {
  part('said').textContent = '';
  try {
    await work();
    part('said').textContent = said;
    return true;
  } catch (error) {
    const lost = error instanceof TypeError ? 'Not saved: the server is gone. Start the same command again and open the address it names.' : error.message;
    part('said').textContent = lost;
    return false;
  } finally { show(); }
}

const verdicts = () => new Map(desk.photos.map(photo => [photo.sha256, photo.verdict+' '+photo.new_label]));

async function undo() {    // and back to the photo whose verdict it was
  const before = verdicts();
  if (!await attempt(takeBack, '')) return;
  const after = verdicts(), place = desk.photos.findIndex(photo => before.get(photo.sha256) !== after.get(photo.sha256));
  if (place < 0) return;
  go(place);
  part('said').textContent = `${desk.photos[place].name}: taken back`;
}

async function judge(verdict, label = '') {
  const photo = desk.photos[at];
  if (!photo) return;
  const said = verdict === 'relabel' ? `${photo.name}: relabelled as ${label}` : `${photo.name}: ${verdict}`;
  if (await attempt(() => keepVerdict(photo, verdict, label), said) && at < desk.photos.length-1) go(at+1);
}

function relabel(label) {
  if (label === desk.photos[at]?.label) {
    part('said').textContent = `It is labelled ${label} already: k keeps that.`;
    return;
  }
  if (desk.classes.includes(label)) return judge('relabel', label);
  const meant = nearest(label);
  part('said').textContent = !label ? 'Name a class first.' : `${label} is no class here${meant ? `: did you mean ${meant}?` : ''}`;
}

function nearest(label) {      // the class that was meant: the same but for capitals, begun, or a part of its name
  const wanted = label.toLowerCase(), names = desk.classes.map(name => name.toLowerCase());
  const ways = [name => name === wanted, name => name.startsWith(wanted), name => name.includes(wanted)];
  return ways.map(fits => desk.classes[names.findIndex(fits)]).find(Boolean);
}

function keep() {
  const photo = desk.photos[at];
  if (!part('keep').disabled) return judge('keep');
  const why = photo?.carries.length ? 'It carries two labels' : 'It has no label to keep';
  part('said').textContent = `${why}: relabel it, or drop it.`;
}

function go(place) {
  at = Math.max(0, Math.min(desk.photos.length-1, place));
  part('wanted').value = '';
  part('wanted').blur();       // so that the next key is a verdict again
  show();
  part('strip').children[at]?.scrollIntoView({block: 'nearest', inline: 'center'});
}

// ---- what is shown

function showOpinions(photo) {
  part('opinions').replaceChildren(...photo.opinions.map(opinion => {
    const row = made('div');
    row.append(made('span', opinion.setup), made('span', opinion.label), made('span', percent(opinion.sure)+'%'));
    row.classList.toggle('doubts', Boolean(photo.label) && opinion.label !== photo.label);
    return row;
  }));
}

function showRuns() {
  part('effect').hidden = !desk.runs.length;
  part('runs').replaceChildren(...desk.runs.map(run => {
    const row = made('tr');
    const cells = [percent(run.raw), percent(run.reviewed), run.relabelled, run.dropped].map(text => made('td', text));
    row.append(Object.assign(made('th', run.run), {scope: 'row'}), ...cells);
    return row;
  }));
}

function progress(done) {
  const where = desk.served ? `verdicts are in ${desk.file}` : 'verdicts stay in this browser until you download them';
  return done === desk.photos.length ? `All ${done} judged; train with --review ${desk.file}` : `${done} of ${desk.photos.length} judged; ${where}`;
}

function show() {
  const photo = desk.photos[at], done = desk.photos.filter(photo => photo.verdict).length;
  part('empty').hidden = Boolean(photo);
  part('judging').hidden = !photo;
  part('count').textContent = photo ? progress(done) : '';
  showRuns();
  if (!photo) return;
  const source = picture(photo, 1200);
  if (part('picture').getAttribute('src') !== source) part('picture').src = source;
  part('picture').alt = `Photo ${at+1} of ${desk.photos.length}`;
  part('name').textContent = photo.name;
  part('given').textContent = photo.label ? `labelled ${photo.label}` : 'not labelled';
  part('why').textContent = photo.why;
  showOpinions(photo);
  part('keep').disabled = !photo.label || photo.carries.length > 0;
  for (const name of ['keep', 'drop']) part(name).setAttribute('aria-pressed', photo.verdict === name);
  part('undo').disabled = !desk.undo;
  if (many) part('classes').replaceChildren(...photo.suggested.slice(0, 9).map(classButton));
  for (const button of part('classes').children) {
    button.setAttribute('aria-pressed', photo.verdict === 'relabel' && photo.new_label === button.dataset.label);
    button.hidden = button.dataset.label === photo.label;
  }
  [...part('strip').children].forEach((item, place) => showThumbnail(item.firstChild, desk.photos[place], place));
}

function showThumbnail(button, photo, place) {
  button.setAttribute('aria-current', place === at);
  button.classList.toggle('done', Boolean(photo.verdict));
  button.lastChild.textContent = photo.verdict ? `✓ ${decided(photo)}` : photo.label || '?';
}

function thumbnail(photo, place) {
  const item = made('li'), button = made('button'), image = made('img');
  Object.assign(image, {loading: 'lazy', alt: photo.name, src: picture(photo, 160)});
  button.append(image, made('span'));
  button.onclick = () => go(place);
  item.append(button);
  return item;
}

function classButton(label, number) {
  const button = made('button');
  button.append(made('kbd', number+1), document.createTextNode(' relabel as '+label));
  button.dataset.label = label;
  button.onclick = () => relabel(label);
  return button;
}

// ---- a file for machines without a server

const quoted = value => `"${String(value ?? '').replaceAll('"', '""')}"`;

function handOut() {
  const rows = desk.photos.filter(photo => photo.verdict);
  const lines = rows.map(photo => [photo.name, photo.doubt, photo.label, photo.verdict, photo.new_label, '', photo.sha256].map(quoted).join(','));
  const text = ['path,doubt,given,verdict,label,note,sha256', ...lines, ''].join('\n');
  const link = Object.assign(made('a'), {href: URL.createObjectURL(new Blob([text], {type: 'text/csv'})), download: 'review.csv'});
  link.click();
  part('said').textContent = `review.csv holds ${rows.length} verdict${rows.length === 1 ? '' : 's'}; train with --review review.csv`;
}

// ---- the beginning

part('strip').replaceChildren(...desk.photos.map(thumbnail));
if (!many) part('classes').replaceChildren(...desk.classes.map(classButton));
else {
  part('other').hidden = false;
  part('known').replaceChildren(...desk.classes.map(label => Object.assign(made('option'), {value: label})));
}
part('other').onsubmit = event => { event.preventDefault(); relabel(part('wanted').value.trim()); };
const keys = {k: keep, d: () => judge('drop'), u: undo, r: () => many && part('wanted').focus()};
Object.assign(keys, {ArrowLeft: () => go(at-1), ArrowRight: () => go(at+1)});
for (const [id, key] of [['keep', 'k'], ['drop', 'd'], ['undo', 'u'], ['back', 'ArrowLeft'], ['on', 'ArrowRight']]) part(id).onclick = () => keys[key]();
if (part('hand-out')) part('hand-out').onclick = handOut;
part('wanted').onkeydown = event => event.key === 'Escape' && part('wanted').blur();
part('picture').onerror = () => { part('said').textContent = 'This photo cannot be read any more.'; };

addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.target.closest('input')) return;
  const button = part('classes').children[Number(event.key)-1];
  const act = keys[event.key] || (button && button.onclick);
  if (!act) return;
  event.preventDefault();
  act();
});

if (desk.served) addEventListener('focus', () => attempt(() => ask('verdicts'), ''));    // another tab may have judged meanwhile
else {
  desk.undo = undone.length;
  for (const [sha256, verdict, label] of JSON.parse(localStorage.getItem(shelf) || '[]')) {
    if (byHash.has(sha256)) Object.assign(byHash.get(sha256), {verdict, new_label: label});
  }
}
const first = desk.photos.findIndex(photo => !photo.verdict);
go(first < 0 ? 0 : first);
