'use strict';
const run = document.getElementById('run');
let px = +run.dataset.px;
// Every height in the drawing, in milliseconds.
const heights = [];
for (const element of run.querySelectorAll(':scope > g *'))
  for (const name of ['y', 'y1', 'y2', 'cy', 'height'])
    if (element.hasAttribute(name)) heights.push([element, name, element.getAttribute(name) / px]);

// Labels that would overlap are hidden; the important ones come first, and marks give way downwards.
function arrange() {
  const taken = {};
  for (const wanted of ['.lab.pin', '.lab:not(.pin)'])
    for (const label of run.querySelectorAll(wanted)) {
      label.style.display = '';
      const hidden = label.closest('.background') && !document.body.classList.contains('background');
      if (hidden || label.closest('.dim')) continue;
      const gap = label.dataset.lane === 'axis' ? 36 : 11;
      const lane = taken[label.dataset.lane] ??= {};
      const y = +label.getAttribute('y') + (+label.getAttribute('dy') || 0);
      const place = Math.floor(y / gap);
      const free = [place - 1, place, place + 1].every(near => !(Math.abs(lane[near] - y) < gap));
      if (free) lane[place] = y; else label.style.display = 'none';
      if (label.parentNode.classList.contains('tick')) label.parentNode.style.display = free ? '' : 'none';
    }
  let last = -99;
  for (const mark of run.querySelectorAll('.mark text')) {
    const y = +mark.getAttribute('y');
    last = Math.max(y, last + 13);
    mark.setAttribute('dy', last - y);
  }
}

function zoom(factor) {
  const header = document.querySelector('header').offsetHeight;
  const top = run.getBoundingClientRect().top + scrollY;
  const middle = (scrollY + header + (innerHeight - header) / 2 - top) / px;
  px = Math.min(50, Math.max(0.02, px * factor));
  for (const [element, name, ms] of heights) element.setAttribute(name, (ms * px).toFixed(1));
  run.setAttribute('height', run.dataset.ms * px + 80);
  arrange();
  scrollTo(scrollX, middle * px + top - header - (innerHeight - header) / 2);
}

// Only what has this text in its tooltip keeps its colour: one session, one client, one sort of message.
function find() {
  const text = document.getElementById('find').value.trim();
  for (const element of run.querySelectorAll('.message, .request'))
    element.classList.toggle('dim', text !== '' && !element.firstChild.textContent.includes(text));
  arrange();
}

document.getElementById('find').oninput = find;
document.getElementById('in').onclick = () => zoom(1.5);
document.getElementById('out').onclick = () => zoom(1 / 1.5);
for (const box of document.querySelectorAll('[data-show]'))
  box.onchange = () => {
    const name = box.dataset.show;
    if (name === 'background') document.body.classList.toggle(name, box.checked);
    else document.body.classList.toggle('no-' + name, !box.checked);
    arrange();
  };
for (const link of document.querySelectorAll('[data-ms]:not(svg)'))
  link.onclick = event => {
    event.preventDefault();
    const top = run.getBoundingClientRect().top + scrollY;
    scrollTo(scrollX, top + link.dataset.ms * px - innerHeight / 2);
  };
find();
