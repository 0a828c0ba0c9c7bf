"""The table's rows and the chart of the comparison."""

PEERS = ("nginx", "haproxy", "varnish", "trafficserver", "squid")
COLOUR = {"brink": "#0b6e4f", "floor": "#999999"}


def best_peer(result):
    """Name and median of the best peer of this run, or None."""
    ranked = [(result[name]["median"], name) for name in PEERS if name in result]
    return max(ranked) if ranked else None


def row(name, unit, result, bars):
    """One line of text: each server, the two ratios, and whether the bars are met."""
    scale = 1 if unit == "GB" else 1000
    cells = [f"{who} {got['median'] / scale:.2f}{'' if unit == 'GB' else 'k'}"
             for who, got in sorted(result.items(), key=lambda one: -one[1]["median"])]
    text = f"{name:10} {unit:5} " + " | ".join(cells)
    best = best_peer(result)
    if "brink" in result and best:
        ratio = result["brink"]["median"] / best[0]
        text += f" || {ratio:.2f} x {best[1]}"
        if bars[0]:
            text += f" (bar {bars[0]}{', met' if ratio >= bars[0] else ', NOT met'})"
    if "brink" in result and "floor" in result:
        ratio = result["brink"]["median"] / result["floor"]["median"]
        text += f", {ratio:.2f} of the floor"
        if bars[1]:
            text += f" (bar {bars[1]}{', met' if ratio >= bars[1] else ', NOT met'})"
    return text


def svg(results, workloads):
    """Horizontal bars, each workload scaled to its best peer (1.0)."""
    line, left, unit = 16, 190, 220
    rows, parts = 0, []
    for name in workloads:
        result = results.get(name)
        best = best_peer(result) if result else None
        if not best:
            continue
        rows += 1
        parts.append(f'<text x="8" y="{rows * line}" font-weight="bold">{name}, best peer = 1</text>')
        for who, got in sorted(result.items(), key=lambda one: -one[1]["median"]):
            rows += 1
            ratio = got["median"] / best[0]
            colour, at = COLOUR.get(who, "#7aa6c2"), rows * line
            parts.append(f'<text x="{left - 8}" y="{at}" text-anchor="end">{who}</text>')
            parts.append(f'<rect x="{left}" y="{at - 10}" height="11" fill="{colour}" '
                         f'width="{max(1, ratio * unit):.0f}"/>')
            parts.append(f'<text x="{left + ratio * unit + 5:.0f}" y="{at}">{ratio:.2f}</text>')
        rows += 1
    height = rows * line + 12
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{height}" '
            f'font-family="sans-serif" font-size="11">'
            f'<rect width="820" height="{height}" fill="white"/>')
    return head + "\n".join(parts) + "</svg>\n"
