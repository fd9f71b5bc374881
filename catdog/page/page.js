// A drawn thing tells its numbers when it is pointed at, tapped, or reached by the keyboard.
const tip = document.getElementById('tip');
let told = null;

function place() {
  if (!told) { tip.style.opacity = 0; return; }
  tip.textContent = told.dataset.tip;
  tip.style.opacity = 1;
  const box = told.getBoundingClientRect();
  const left = box.x + box.width/2 - tip.offsetWidth/2;
  const above = box.y - tip.offsetHeight - 8;
  tip.style.left = Math.max(6, Math.min(innerWidth - tip.offsetWidth - 6, left)) + 'px';
  tip.style.top = (above > 0 ? above : box.bottom + 8) + 'px';
}

// One setup is highlighted: the marks of all others step back.
let held = null;

function highlight(setup) {
  const known = setup !== null && setup !== undefined;
  for (const mark of document.querySelectorAll('svg [data-setup]')) mark.classList.toggle('away', known && mark.dataset.setup !== setup);
}

function point(event) {
  const target = event.target.closest ? event.target : null;
  told = target && target.closest('.tip');
  const mark = target && target.closest('[data-setup]');
  highlight(mark ? mark.dataset.setup : held);
  place();
}

for (const name of ['pointerover', 'focusin', 'pointerdown']) document.addEventListener(name, point);
document.addEventListener('scroll', place, true);
for (const title of document.querySelectorAll('.tip > title')) title.remove();   // the tip says it already

for (const button of document.querySelectorAll('.legend button')) button.onclick = () => {
  held = held === button.dataset.setup ? null : button.dataset.setup;
  for (const other of document.querySelectorAll('.legend button')) other.setAttribute('aria-pressed', other.dataset.setup === held);
  highlight(held);
};

// Tabs: one panel of several is shown.
for (const tabs of document.querySelectorAll('.tabs')) {
  const buttons = [...tabs.querySelectorAll('button')];
  for (const button of buttons) button.onclick = () => {
    for (const other of buttons) {
      other.setAttribute('aria-selected', other === button);
      document.getElementById(other.getAttribute('aria-controls')).hidden = other !== button;
    }
    mark_wide_tables();
  };
}

// Tables sort by a click on a heading, best first: data-best says whether that is the most or the least.
function cell_value(row, i) {
  const cell = row.cells[i];
  return 'value' in cell.dataset ? parseFloat(cell.dataset.value) : cell.innerText.trim();
}

function in_order(x, y) {
  const numbers = [x, y].map(v => typeof v === 'number');
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  return numbers[0] ? x - y : x.localeCompare(y);
}

function sort_table(heading) {
  const body = heading.closest('table').tBodies[0], i = heading.cellIndex, now = heading.getAttribute('aria-sort');
  const first = heading.dataset.best === 'most' ? 'descending' : 'ascending';
  const order = now === null ? first : now === 'ascending' ? 'descending' : 'ascending';
  for (const other of heading.parentNode.cells) other.removeAttribute('aria-sort');
  heading.setAttribute('aria-sort', order);
  const missing = row => row.cells[i].innerText.trim() === '–';   // always last
  const rows = [...body.rows].sort((a, b) => {
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return in_order(cell_value(a, i), cell_value(b, i)) * (order === 'ascending' ? 1 : -1);
  });
  body.append(...rows);
}

for (const heading of document.querySelectorAll('table.sortable thead th')) {
  const button = document.createElement('button');
  button.append(...heading.childNodes);
  heading.append(button);
  button.onclick = () => sort_table(heading);
}

// A table that is wider or taller than its frame says so.
function mark_wide_tables() {
  for (const frame of document.querySelectorAll('.scroll')) {
    const left = frame.scrollWidth - frame.clientWidth;
    frame.classList.toggle('wider', left > 2);
    frame.classList.toggle('taller', frame.scrollHeight - frame.clientHeight > 2);
    frame.classList.toggle('more', left - frame.scrollLeft > 2);
    frame.onscroll = () => frame.classList.toggle('more', frame.scrollWidth - frame.clientWidth - frame.scrollLeft > 2);
  }
}

mark_wide_tables();
addEventListener('resize', mark_wide_tables);
for (const details of document.querySelectorAll('details')) details.addEventListener('toggle', mark_wide_tables);
