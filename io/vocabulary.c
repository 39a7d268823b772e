/* SPDX-License-Identifier: BSD-3-Clause
 *
 * vocabulary.c: GPT-2's way to write any bytes as text (Radford et al. 2019): those that print in
 * Latin-1 stand for themselves, the others are, in their order, the characters from U+0100 on.
 */
#include "clvi_tokenizer.h"

#include <string.h>

static bool stands_for_itself(int byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* The byte that a character is written for, or -1. */
static int byte_of(int character)
{
    if (character < 0x100) return stands_for_itself(character) ? character : -1;
    int rest = character - 0x100;
    for (int byte = 0; byte < 0x100; byte++)
        if (!stands_for_itself(byte) && rest-- == 0) return byte;
    return -1;
}

bool clvi_bytes_of(char *text, size_t *bytes)
{
    size_t used = 0;
    for (int pass = 0; pass < 2; pass++) { /* the first only looks */
        used = 0;
        for (size_t i = 0; i < *bytes; used++) {
            unsigned char first = (unsigned char)text[i];
            bool two = first >= 0xc2 && first <= 0xc5 && i + 1 < *bytes; /* up to U+017F */
            int character = two ? (first & 0x1f) << 6 | (text[i + 1] & 0x3f) : first;
            int byte = first < 0x80 || two ? byte_of(character) : -1;
            if (byte < 0) return false;
            if (pass == 1) text[used] = (char)byte;
            i += two ? 2 : 1;
        }
    }
    *bytes = used;
    return true;
}
