// Shows the values of a chart under the pointer. The page needs it for nothing else. Values are read back from the
// drawing, with the scales in its attributes: "kind from to".
(() => {
  const box = { left: 50, right: 408, top: 12, bottom: 174 };
  const scale = (text) => {
    const [kind, from, to] = text.split(" ");
    return { kind, from: Number(from), to: Number(to) };
  };
  const value = (axis, place) =>
    axis.kind === "latency" ? axis.from * (axis.to / axis.from) ** place : axis.from + place * (axis.to - axis.from);
  const short = (number) => (number >= 100 ? Math.round(number).toLocaleString("en") : Number(number.toPrecision(3)).toString());
  const words = {
    latency: (us) => (us < 1e3 ? short(us) + " µs" : us < 1e6 ? short(us / 1e3) + " ms" : short(us / 1e6) + " s"),
    time: (s) => (s < 300 ? s.toFixed(1) + " s" : s < 10800 ? (s / 60).toFixed(1) + " min" : (s / 3600).toFixed(2) + " h"),
    share: (tens) => Number((100 * (1 - 10 ** -tens)).toFixed(Math.max(0, Math.ceil(tens) - 1))) + " %",
    rate: (perSecond) => short(perSecond) + "/s",
  };
  for (const chart of document.querySelectorAll("svg.chart")) {
    const [x, y] = [scale(chart.dataset.x), scale(chart.dataset.y)];
    const lines = [...chart.querySelectorAll("path.line")].map((path) => ({
      name: path.dataset.name,
      points: path.getAttribute("d").split(/[ML]/).slice(1).map((point) => point.split(" ").map(parseFloat)),
    }));
    const tip = document.createElement("output");
    tip.className = "tip";
    tip.hidden = true;
    chart.after(tip);
    const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", box.top);
    cursor.setAttribute("y2", box.bottom);
    cursor.style.display = "none";
    chart.append(cursor);
    chart.addEventListener("pointermove", (event) => {
      const area = chart.getBoundingClientRect();
      const at = ((event.clientX - area.left) / area.width) * chart.viewBox.baseVal.width;
      const texts = lines.flatMap(({ name, points }) => {
        if (points.length === 0) return [];
        const near = points.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best));
        return `${name} ${words[y.kind](value(y, (box.bottom - near[1]) / (box.bottom - box.top)))}`;
      });
      const place = Math.min(1, Math.max(0, (at - box.left) / (box.right - box.left)));
      tip.textContent = [words[x.kind](value(x, place)), ...texts].join(" · ");
      tip.hidden = false;
      cursor.style.display = "";
      cursor.setAttribute("x1", box.left + place * (box.right - box.left));
      cursor.setAttribute("x2", box.left + place * (box.right - box.left));
    });
    chart.addEventListener("pointerleave", () => {
      tip.hidden = true;
      cursor.style.display = "none";
    });
  }
})();
