// Looks for words in the manual. No module: a page opened from a disk may not load any.

(function () {
  const most = 40;
  const around = 90;
  const wanted = (new URLSearchParams(location.search).get("q") ?? "").trim();
  const terms = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  const said = document.getElementById("searched");
  document.querySelector('input[name="q"]').value = wanted;
  if (!terms.length) {
    said.textContent = "Type what you look for.";
    return;
  }

  // Sections that hold every word; those that have them in their heading come first.
  const found = [];
  for (const section of window.manual) {
    const heading = `${section.page} ${section.heading}`.toLowerCase();
    const text = section.text.toLowerCase();
    if (!terms.every((term) => heading.includes(term) || text.includes(term))) continue;
    // The page of all calls says the same words at each of them.
    const weight = section.at.startsWith("api.html") ? 0.2 : 1;
    const inHeading = terms.filter((term) => section.heading.toLowerCase().includes(term)).length;
    const often = terms.reduce((sum, term) => sum + Math.min(text.split(term).length - 1, 9), 0);
    found.push({ section, score: 20 * inHeading + weight * often });
  }
  found.sort((a, b) => b.score - a.score);

  said.textContent = found.length
    ? `${found.length} ${found.length === 1 ? "place" : "places"}${found.length > most ? `, the best ${most} are shown` : ""}`
    : `Nothing in the manual has ${terms.map((term) => `“${term}”`).join(" and ")}.`;
  for (const { section } of found.slice(0, most)) {
    const at = Math.max(0, section.text.toLowerCase().indexOf(terms[0]));
    const start = Math.max(0, at - around);
    const link = document.createElement("a");
    link.href = section.at;
    link.textContent = section.page === section.heading ? section.page : `${section.page}: ${section.heading}`;
    const part = document.createElement("p");
    part.textContent = (start ? "…" : "") + section.text.slice(start, at + 2 * around) + "…";
    const item = document.createElement("li");
    item.append(link, part);
    document.getElementById("found").append(item);
  }
})();
