// On a phone, each row of a list is a block, and each cell has the name of its column: admin.css.
for (const table of document.querySelectorAll("#result_list")) {
  const names = [...table.querySelectorAll("thead th")].map((head) => head.textContent.trim())
  for (const row of table.querySelectorAll("tbody tr")) {
    for (const [position, cell] of [...row.children].entries()) {
      if (!cell.classList.contains("action-checkbox")) cell.dataset.column = names[position]
    }
  }
}
