// Draws with plotly.js in the page's own colors.

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;

// Told apart without color vision, and on both papers.
const LIGHT = ["#0b5c9e", "#b3541e", "#1b7a43", "#8b3d88", "#7a6200", "#b3261e", "#2b7a86", "#555d66"];
const DARK = ["#84bdf4", "#f2a470", "#7fce94", "#d79ad3", "#d9c35f", "#ff8f86", "#79c9d4", "#b5bdc6"];

export const color = (index) => (dark() ? DARK : LIGHT)[index % LIGHT.length];

// plotly.js is large: it is loaded once something is drawn, and no page waits for it.
let loading = null;
function loaded() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("plotly.min.js", import.meta.url);
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("plotly.js could not be loaded"));
    document.head.append(script);
  });
  return loading;
}

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

export async function draw(element, traces, { title, x = {}, y = {}, height = null, ...more } = {}) {
  const plotly = await loaded();
  const names = traces.filter((trace) => trace.showlegend !== false).length;
  height ??= 240 + 17 * Math.ceil(names / (element.clientWidth < 420 ? 1 : 2)); // names stand below, in columns
  element.style.height = `${height}px`;
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
  const layout = {
    title: { text: title, font: { size: 13 }, x: 0, xanchor: "left", xref: "paper" },
    font: { family: "system-ui, sans-serif", size: 12, color: css("--ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 44, r: 8, t: 30, b: 34 },
    height,
    showlegend: names > 1,
    legend: { orientation: "h", y: -0.18, font: { size: 11 } },
    hovermode: "x unified",
    hoverlabel: { bgcolor: css("--shade"), bordercolor: css("--line"), font: { color: css("--ink") } },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--quiet"), activecolor: css("--ink") },
    uirevision: "kept", // a zoom stays when points come in
    xaxis: { ...axis, ...x },
    yaxis: { ...axis, ...y },
    ...more,
  };
  return plotly.react(element, traces, layout, CONFIG);
}

// Calls it again when the reader changes between light and dark.
export function onScheme(redraw) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
