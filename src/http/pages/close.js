// Closes the window after there was time to read it. Browsers allow that for windows that a script opened, and ignore it for others.
setTimeout(() => window.close(), 2500);
