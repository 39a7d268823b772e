# SPDX-License-Identifier: BSD-3-Clause
#
# table.awk: a table for people of the JSON lines of `cleave bench gemm` and `cleave bench linear`.
#
#     awk -f table.awk strong.jsonl
#
# limit: GFLOP/s of concurrent local products; then GFLOP/s of Cleave, and as parts of the limit
# Cleave's median, its slowest and fastest turn, ScaLAPACK as installed and tuned; `<` marks what is
# below tuned ScaLAPACK. MiB: received by the process that receives most.

function value(key,    at, rest) {
    at = index($0, "\"" key "\": ")
    if (!at) return ""
    rest = substr($0, at + length(key) + 4)
    if (substr(rest, 1, 1) == "\"") return substr(rest, 2, index(substr(rest, 2), "\"") - 1)
    match(rest, /[,}]/)
    return substr(rest, 1, RSTART - 1)
}
function part(rate, limit) {
    return rate == "" || rate == "null" ? "-" : sprintf("%.3f", rate / limit)
}
function head() {
    printf "%3s %-14s %6s %6s %6s %-6s %9s %9s %7s %15s %9s %7s   %9s\n", "p", "grid", "m", "n", "k",
        "op", "limit", "GFLOP/s", "part", "of the turns", "ScaLAPACK", "tuned", "MiB"
}

BEGIN { if (header != 0) head() }
/"bench": "(gemm|linear)"/ {
    limit = value("limit_gflops")
    rate = value("gflops")
    tuned = value("scalapack_tuned_gflops")
    below = tuned != "" && tuned != "null" && rate + 0 < tuned + 0
    op = value("bench") == "gemm" ? value("op") : value("scheme")
    printf "%3d %-14s %6d %6d %6d %-6s %9.2f %9.2f %7s %15s %9s %7s %1s %9.2f\n", value("ranks"),
        value("grid"), value("m"), value("n"), value("k"), op, limit, rate, part(rate, limit),
        part(value("gflops_min"), limit) "-" part(value("gflops_max"), limit),
        part(value("scalapack_gflops"), limit), part(tuned, limit), below ? "<" : "",
        value("bytes_per_rank") / 1048576
    points++
    if (below) worse++
}
END { if (totals) printf "\n%d of %d points below tuned ScaLAPACK\n", worse, points }
