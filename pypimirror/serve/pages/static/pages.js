// Suggests names while somebody types into a search box. Without it, the form works as well.
"use strict";
for (const form of document.querySelectorAll("form.search")) {
  const input = form.querySelector("input");
  const names = document.createElement("datalist");
  names.id = "names";
  form.append(names);
  input.setAttribute("list", names.id);
  let wait, last = "";
  input.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(async () => {
      const asked = input.value.trim();
      if (asked.length < 2 || asked === last) return;
      last = asked;
      const answer = await fetch(`${form.dataset.twin}?limit=8&q=${encodeURIComponent(asked)}`);
      if (!answer.ok || input.value.trim() !== asked) return;
      const { results } = await answer.json();
      names.replaceChildren(...results.map(({ name, summary }) => {
        const option = document.createElement("option");
        option.value = name;
        option.label = summary;
        return option;
      }));
    }, 200);
  });
}
