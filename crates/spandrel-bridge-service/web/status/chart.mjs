// A line of the last values, as an SVG path in the colours of the page.

const WIDTH = 600;
const HEIGHT = 100;

export class Chart {
  /**
   * @param {SVGSVGElement} svg Empty; gets an area and a line.
   * @param {number} length How many values it shows, the newest at the right end.
   * @param {{ min?: number, max?: number }} [range] Without `max` the top follows the largest value shown.
   */
  constructor(svg, length, { min = 0, max } = {}) {
    Object.assign(this, { length, min, max, values: [] });
    svg.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute('preserveAspectRatio', 'none');
    [this.area, this.line] = ['area', 'line'].map((name) => {
      const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
      path.setAttribute('class', name);
      return svg.appendChild(path);
    });
  }

  /** Appends a value and draws, unless told to wait for the next `draw()`. */
  add(value, isDrawn = true) {
    this.values.push(value);
    if (this.values.length > this.length) this.values.shift();
    if (isDrawn) this.draw();
  }

  /** The value at the upper edge. */
  get top() {
    return this.max ?? roundUp(Math.max(...this.values, 1));
  }

  draw() {
    const { values, length, min, top: max } = this;
    if (values.length === 0) return;
    const x = (i) => (WIDTH * (length - values.length + i)) / (length - 1);
    const y = (v) => HEIGHT - (HEIGHT * (Math.min(max, Math.max(min, v)) - min)) / (max - min);
    const points = values.map((v, i) => `${x(i).toFixed(1)} ${y(v).toFixed(1)}`).join('L');
    this.line.setAttribute('d', `M${points}`);
    this.area.setAttribute('d', `M${x(0).toFixed(1)} ${HEIGHT}L${points}L${WIDTH} ${HEIGHT}Z`);
  }
}

/** The next of 1, 2, 5, 10, 20, 50 … so that the scale does not jump with every value. */
function roundUp(value) {
  const ten = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= value) ?? value;
}
