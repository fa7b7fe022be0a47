// The contrast of each visible text with its background, by the formulas of WCAG 2.
// This is an expression that can be evaluated in any page.
(() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  // Any CSS colour as red, green, blue (0 to 255) and alpha (0 to 1).
  const parse = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) =>
    [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ratio = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const dark = matchMedia("(prefers-color-scheme: dark)").matches
    && getComputedStyle(document.documentElement).colorScheme.includes("dark");
  const canvasColour = dark ? [18, 18, 18, 1] : [255, 255, 255, 1];
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      layers.push(parse(getComputedStyle(e).backgroundColor));
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), canvasColour);
  };
  const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && [...element.getClientRects()].some((box) => box.width > 1 && box.height > 1);
  const found = [];
  const add = (text, element, colour, ground, needed) => found.push({
    text: text.trim().slice(0, 40),
    element: element.tagName.toLowerCase() + (element.id ? "#" + element.id : "")
      + [...element.classList].map((name) => "." + name).join(""),
    ratio: ratio(over(parse(colour), ground), ground),
    needed,
  });
  const needs = (style) => {
    const size = parseFloat(style.fontSize);
    return size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700) ? 3 : 4.5;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || ["SCRIPT", "STYLE", "NOSCRIPT", "OPTION", "TEXTAREA", "TEMPLATE"].includes(element.tagName) || !visible(element)) {
      continue;
    }
    // WCAG does not apply to disabled controls.
    if (element.closest(":disabled")) continue;
    const style = getComputedStyle(element);
    add(node.data, element, style.color, behind(element), needs(style));
  }
  for (const element of document.querySelectorAll("input, select, textarea")) {
    if (!visible(element) || element.type === "hidden" || element.matches(":disabled")) continue;
    const style = getComputedStyle(element);
    add(element.value || "(field)", element, style.color, behind(element), needs(style));
    add("(border)", element, style.borderTopColor, behind(element.parentElement), 3);
    if (element.placeholder) {
      const placeholder = getComputedStyle(element, "::placeholder");
      add("(placeholder)", element, placeholder.color, behind(element), needs(style));
    }
  }
  return found;
})()
