/* SPDX-License-Identifier: BSD-3-Clause
 *
 * layout.c: the job of each axis, as a value and as text.
 *
 * RANKS: 1 4 8
 */
#include "../reference.h"

static clv_grid *open_grid(void)
{
    clv_grid *grid = NULL;
    int half = check_size() % 4 == 0 ? 2 : 1;
    const clv_axis axes[] = {{"data", half}, {"row", half}, {"col", check_size() / half / half}};
    CHECK_OK(clv_grid_create(MPI_COMM_WORLD, 3, axes, &grid));
    return grid;
}

static void texts(void)
{
    static const struct {
        const char *text;
        clv_layout layout;
    } known[] = {
        {"-|-", {0}},
        {"data|-", {.rows = 0x1}},
        {"-|row", {.cols = 0x2}},
        {"data+row|col", {.rows = 0x21, .cols = 0x3}},
        {"row+data|col", {.rows = 0x12, .cols = 0x3}},
        {"-|row;col", {.cols = 0x2, .sum = 0x4}},
        {"-|-;data+col", {.sum = 0x5}},
        {"-|col+row+data", {.cols = 0x123}},
    };
    clv_grid *grid = open_grid();
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        clv_layout layout = {.rows = 7, .cols = 7, .sum = 7};
        char text[64];
        CHECK_OK(clv_layout_parse(grid, known[i].text, &layout));
        CHECK_INT(layout.rows, known[i].layout.rows);
        CHECK_INT(layout.cols, known[i].layout.cols);
        CHECK_INT(layout.sum, known[i].layout.sum);
        CHECK(clv_layout_format(grid, layout, text, sizeof text) == text);
        CHECK_STRING(text, known[i].text);
    }
    clv_layout layout;
    CHECK_OK(clv_layout_parse(grid, "-|-;-", &layout));
    CHECK_INT(layout.sum, 0);
    CHECK_OK(clv_layout_parse(grid, "-|-;col+data", &layout)); /* a set has no order */
    CHECK_INT(layout.sum, 5);
    clv_grid_destroy(&grid);
}

static void every_layout_survives_its_text(void)
{
    clv_grid *grid = open_grid();
    clv_layout layouts[REF_LAYOUTS], back;
    int count = ref_all_layouts(3, layouts);
    uint64_t state = 1;
    for (int i = 0; i < 4 * count; i++) {
        clv_layout layout = i < count ? layouts[i] : ref_random_layout(3, &state);
        char text[64], again[64];
        CHECK_OK(clv_layout_check(grid, layout));
        clv_layout_format(grid, layout, text, sizeof text);
        CHECK_OK(clv_layout_parse(grid, text, &back));
        CHECK_INT(back.rows, layout.rows);
        CHECK_INT(back.cols, layout.cols);
        CHECK_INT(back.sum, layout.sum);
        for (size_t size = 0; size <= strlen(text); size++) { /* cut short */
            memset(again, 'x', sizeof again);
            clv_layout_format(grid, layout, again, size);
            CHECK_INT(again[size], 'x');
            if (size > 0) CHECK(again[size - 1] == '\0' && strncmp(again, text, size - 1) == 0);
        }
    }
    clv_grid_destroy(&grid);
}

static void bad_texts_are_refused(void)
{
    static const struct {
        const char *text, *says; /* what the message has to name */
    } bad[] = {
        {"", "rows|cols"},
        {"data", "rows|cols"},
        {"data|", ""},
        {"|data", ""},
        {"|", ""},
        {"depth|-", "depth"},
        {"-|-;depth", "depth"},
        {"data|data", "data"},
        {"data+data|-", "data"},
        {"data|-;data", ""},
        {"-|-;row+row", "row"},
        {"data+|-", ""},
        {"+data|-", ""},
        {"data++row|-", ""},
        {"data|row|col", ""},
        {"data|row;col;col", ""},
        {"data|row;", ""},
        {" data|row", " data"},
        {"Data|-", "Data"},
        {"dat|-", "dat"},
        {"data1|-", "data1"},
        {"-+data|-", ""},
        {"=|-", "="},
    };
    clv_grid *grid = open_grid();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        clv_layout layout = {.rows = 0x2, .cols = 0x3, .sum = 0x1};
        if (!CHECK_STATUS(clv_layout_parse(grid, bad[i].text, &layout), CLV_ELAYOUT) ||
            !CHECK(strstr(clv_last_error(), bad[i].says) != NULL))
            fprintf(stderr, "\"%s\": %s\n", bad[i].text, clv_last_error());
        CHECK(layout.rows == 0x2 && layout.cols == 0x3 && layout.sum == 0x1); /* untouched */
    }
    clv_grid_destroy(&grid);
}

static void bad_values_are_refused(void)
{
    static const clv_layout bad[] = {
        {.rows = 0x4},              /* the grid has no fourth axis */
        {.cols = 0x9},              /* nor a ninth */
        {.rows = 0x20},             /* a hole in the list */
        {.rows = 0x11},             /* twice in one list */
        {.rows = 0x1, .cols = 0x1}, /* in both lists */
        {.rows = 0x2, .sum = 0x2},  /* shards and holds a sum */
        {.cols = 0x3, .sum = 0x4},
        {.sum = 0x8},
    };
    clv_grid *grid = open_grid();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STATUS(clv_layout_check(grid, bad[i]), CLV_ELAYOUT);
    CHECK_STATUS(clv_layout_check(grid, bad[6]), CLV_ELAYOUT);
    CHECK(strstr(clv_last_error(), clv_grid_axis(grid, 2).name) != NULL);
    clv_grid_destroy(&grid);
}

/* Dual: copies and sums swapped, twice is nothing. Transpose: rows and columns swapped. */
static void layouts_by_rule(void)
{
    clv_grid *grid = open_grid();
    for (int code = 0; code < 64; code++) {
        char jobs[4], dual[4], flipped[4];
        ref_jobs_of(3, code, jobs);
        for (int a = 0; a < 4; a++) {
            dual[a] = jobs[a] == '=' ? '+' : jobs[a] == '+' ? '=' : jobs[a];
            flipped[a] = jobs[a] == 'R' ? 'C' : jobs[a] == 'C' ? 'R' : jobs[a];
        }
        clv_layout layout = ref_layout(3, jobs, NULL), d = ref_layout(3, dual, NULL);
        clv_layout t = ref_layout(3, flipped, NULL);
        clv_layout found = clv_layout_dual(grid, layout);
        CHECK(found.rows == d.rows && found.cols == d.cols && found.sum == d.sum);
        found = clv_layout_transpose(layout);
        CHECK(found.rows == t.rows && found.cols == t.cols && found.sum == t.sum);
    }
    clv_grid_destroy(&grid);
}

static void ordered_lists(void)
{
    clv_order list = 0;
    CHECK_INT(clv_order_length(list), 0);
    CHECK_INT(clv_order_set(list), 0);
    for (int i = 0; i < CLV_MAX_AXES; i++) {
        int axis = (5 * i + 3) % CLV_MAX_AXES; /* all of them, in no order */
        list = clv_order_append(list, axis);
        CHECK_INT(clv_order_length(list), i + 1);
        CHECK_INT(clv_order_axis(list, i), axis);
        CHECK_INT(clv_order_axis(list, 0), 3);
        CHECK(clv_order_set(list) >> axis & 1);
    }
    CHECK_INT(clv_order_set(list), 0xff);
    CHECK_INT(clv_order_join(0x21, 0x3), 0x321);
    CHECK_INT(clv_order_join(0, 0x21), 0x21);
    CHECK_INT(clv_order_join(0x21, 0), 0x21);
    CHECK_INT(clv_order_join(list, 0), list);
    CHECK_INT(clv_order_join(0, list), list);
    CHECK_INT(clv_order_join(0x4321, 0x8765), 0x87654321);
}

const check_case check_cases[] = {
    {"texts", texts},
    {"every layout survives its text", every_layout_survives_its_text},
    {"bad texts are refused", bad_texts_are_refused},
    {"bad values are refused", bad_values_are_refused},
    {"layouts by rule", layouts_by_rule},
    {"ordered lists", ordered_lists},
    {0},
};
