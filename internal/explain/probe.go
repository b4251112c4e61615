package explain

// Prove puts a real call beside the prediction. A refusal that was predicted is agreement too.
func (p *Path) Prove(b Probe) {
	b.Agrees = b.Err == "" && b.Delivered == (p.Cause == nil)
	p.Probe = &b
}
