// Sends the form to the other cluster by itself; without scripts its button does.
document.querySelector("form[data-go]")?.submit();
