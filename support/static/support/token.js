const token = document.getElementById("token")
const button = document.getElementById("copy")
const copied = document.getElementById("copied")

button.hidden = false
button.addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(token.textContent)
    copied.textContent = "Copied."
  } catch {
    // Without HTTPS, or if the browser forbids it.
    getSelection().selectAllChildren(token)
    copied.textContent = document.execCommand("copy") ? "Copied." : "Selected. Copy it with the keyboard."
  }
})

// Don't leave the token in the browser's cache of pages for its "back" button.
addEventListener("pagehide", () => {
  token.remove()
  document.querySelector(".qr").remove()
})
addEventListener("pageshow", (event) => event.persisted && location.reload())
