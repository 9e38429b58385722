// The picture of scatter.py: filters, colours and shapes, choice by pointer and keyboard, table.
(() => {
  'use strict';
  const WIDTH = 480, HEIGHT = 360, MARGIN = 12;
  const REACH = 24; // pixels from a click to the point that it means
  const LISTED = 50; // rows of the table
  const LOOKS = 7; // colours in scatter.css, and shapes:
  const SHAPES = [
    'M-4.4 0a4.4 4.4 0 1 0 8.8 0a4.4 4.4 0 1 0 -8.8 0z',
    'M-4 -4h8v8h-8z',
    'M0 -5.2L5 3.8H-5z',
    'M0 -5.6L5.6 0L0 5.6L-5.6 0z',
    'M0 5.2L5 -3.8H-5z',
    'M-1.7 -5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z',
    'M-4.8 -2.6L-2.6 -4.8L0 -2.2L2.6 -4.8L4.8 -2.6L2.2 0L4.8 2.6L2.6 4.8L0 2.2L-2.6 4.8' +
      'L-4.8 2.6L-2.2 0z',
  ];
  const DIRECTIONS = {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  };

  function make(tag, fields = {}, ...children) {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  }

  function start(root) {
    const data = JSON.parse(root.querySelector('script').textContent);
    const [svg, status, legend, chosen, table, by] = [
      'svg', '[role=status]', '.legend', '.chosen', 'tbody', '.by',
    ].map((name) => root.querySelector(name));
    const filters = [...root.querySelectorAll('.filter')];
    const classes = [...root.querySelectorAll('thead th')].map((cell) => cell.className);
    const places = data.points.map(([x, y]) => [
      MARGIN + x * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - y * (HEIGHT - 2 * MARGIN),
    ]);
    let shown = [];
    let selected = -1;

    // A mark of value `code`: every value has its own pair of colour and shape; unknown: a ring.
    function mark(code, known) {
      const path = document.createElementNS(svg.namespaceURI, 'path');
      const turn = Math.floor(code / LOOKS);
      path.setAttribute('class', known ? `mark c${code % LOOKS}` : 'mark unknown');
      path.setAttribute('d', SHAPES[known ? (code + turn) % LOOKS : 0]);
      return path;
    }

    function text(column, i) {
      return column.values[column.codes[i]] || 'unknown';
    }

    function draw() {
      const column = by ? data.columns[by.value] : null;
      svg.replaceChildren();
      const counts = new Map();
      for (const i of shown) {
        const code = column ? column.codes[i] : 0;
        const path = mark(code, !column || column.values[code] !== '');
        path.setAttribute('transform', `translate(${places[i][0]} ${places[i][1]})`);
        svg.append(path);
        counts.set(code, (counts.get(code) || 0) + 1);
      }
      legend.replaceChildren(...(column ? [make('li', {}, `${column.name}:`)] : []));
      for (const code of column ? [...counts.keys()].sort((a, b) => a - b) : []) {
        const swatch = svg.cloneNode(false);
        for (const name of ['role', 'tabindex', 'aria-label']) swatch.removeAttribute(name);
        swatch.setAttribute('viewBox', '-7 -7 14 14');
        swatch.setAttribute('aria-hidden', 'true');
        swatch.append(mark(code, column.values[code] !== ''));
        const name = column.values[code] || 'unknown';
        legend.append(make('li', {}, swatch, ` ${name} (${counts.get(code)})`));
      }
      ring();
    }

    function ring() {
      svg.querySelector('.ring')?.remove();
      if (selected < 0) return;
      const circle = document.createElementNS(svg.namespaceURI, 'circle');
      const fields = { class: 'ring', cx: places[selected][0], cy: places[selected][1], r: 9 };
      for (const [name, value] of Object.entries(fields)) circle.setAttribute(name, value);
      svg.append(circle);
    }

    function update() {
      const wanted = filters.filter((filter) => filter.value !== '');
      const fits = (i) =>
        wanted.every((f) => data.columns[f.dataset.column].codes[i] === Number(f.value));
      shown = data.titles.map((_, i) => i).filter(fits);
      const told = wanted.map((f) => {
        const column = data.columns[f.dataset.column];
        return `${column.name} ${column.values[f.value] || 'unknown'}`;
      });
      const count = `${shown.length} of ${data.titles.length} images shown`;
      status.textContent = told.length ? `${count}: ${told.join(', ')}.` : `${count}.`;
      if (selected >= 0 && !shown.includes(selected)) select(-1);
      draw();
      list();
    }

    function list() {
      table.replaceChildren(...shown.slice(0, LISTED).map((i) => {
        const button = make('button', { type: 'button' }, data.titles[i]);
        button.addEventListener('click', () => { select(i); chosen.focus(); });
        const cells = data.columns.map((column, k) =>
          make('td', { className: classes[k + 1] }, text(column, i)));
        return make('tr', {}, make('th', { scope: 'row', className: classes[0] }, button), ...cells);
      }));
    }

    function picture(source, told, caption) {
      const image = make('img', { src: `data:image/jpeg;base64,${source}`, alt: told });
      return make('figure', {}, image, make('figcaption', {}, caption));
    }

    function select(i) {
      selected = i;
      ring();
      if (i < 0) {
        chosen.replaceChildren(make('p', {}, 'No image is chosen.'));
        return;
      }
      const [title, pair] = [data.titles[i], data.pictures[i]];
      const facts = data.columns.flatMap((column) => [
        make('dt', {}, column.name), make('dd', {}, text(column, i)),
      ]);
      const pictures = pair
        ? [picture(pair[0], `Image ${title}`, 'Image'),
          picture(pair[1], `Map over the image ${title}`, data.caption)]
        : [make('p', {}, 'Its pictures are left out, to keep the page small.')];
      chosen.replaceChildren(
        make('h3', {}, title), make('div', { className: 'pair' }, ...pictures),
        make('dl', {}, ...facts));
    }

    function nearest(cost, limit = Infinity) {
      let [best, least] = [-1, limit];
      for (const i of shown) {
        const value = cost(places[i]);
        if (value < least) [best, least] = [i, value];
      }
      return best;
    }

    // The shown point that a key leads to, from the chosen one; -1 if there is none.
    function led(key) {
      if (!shown.length) return -1;
      const at = shown.indexOf(selected);
      if (key === 'Home' || (at < 0 && key !== 'End')) return shown[0];
      if (key === 'End') return shown[shown.length - 1];
      if (key === 'PageDown') return shown[at + 1] ?? -1;
      if (key === 'PageUp') return shown[at - 1] ?? -1;
      const [[x, y], [right, down]] = [places[selected], DIRECTIONS[key]];
      return nearest(([u, v]) => {
        const along = (u - x) * right + (v - y) * down;
        const aside = Math.abs((u - x) * down) + Math.abs((v - y) * right);
        // What lies aside is further away, but is reached where nothing else is left.
        return along > 0 ? Math.hypot(along, 2 * aside) : Infinity;
      });
    }

    svg.addEventListener('click', (event) => {
      const box = svg.getBoundingClientRect();
      const scale = WIDTH / box.width;
      const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
      const found = nearest(([u, v]) => Math.hypot(u - x, v - y), REACH * scale);
      if (found >= 0) select(found);
    });
    svg.addEventListener('keydown', (event) => {
      const known = event.key in DIRECTIONS
        || ['Home', 'End', 'PageUp', 'PageDown', 'Enter'].includes(event.key);
      if (!known || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      if (event.key === 'Enter' && selected >= 0) { chosen.focus(); return; }
      const found = led(event.key);
      if (found >= 0) select(found);
    });
    chosen.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') svg.focus();
    });
    by?.addEventListener('change', draw);
    for (const filter of filters) filter.addEventListener('change', update);
    root.querySelector('.all')?.addEventListener('click', () => {
      for (const filter of filters) filter.value = '';
      update();
    });
    root.classList.add('drawn'); // what scatter.css does not print then
    root.querySelector('.live').hidden = false;
    root.querySelector('details').open = false; // open for those who have no script
    select(-1);
    update();
  }

  document.querySelectorAll('.scatter').forEach(start);
})();
