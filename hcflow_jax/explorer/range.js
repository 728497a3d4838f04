// The browser's own slider: its focus, role, name and value are on one element, as screen readers need them.
// While it is dragged, it sends a value every 50 ms at most. The event "settle" follows the last value.
export default {
  template: `
    <input
      type="range"
      :value="modelValue"
      :disabled="disable"
      @input="move($event.target.valueAsNumber)"
      @change="settle"
    />`,
  props: { modelValue: Number, disable: Boolean },
  emits: ["update:modelValue", "settle"],
  data: () => ({ timer: null, waiting: null }),
  methods: {
    move(value) {
      if (this.timer !== null) {
        this.waiting = value;
        return;
      }
      this.$emit("update:modelValue", value);
      this.timer = setTimeout(this.send, 50);
    },
    send() {
      clearTimeout(this.timer);
      const value = this.waiting;
      this.timer = this.waiting = null;
      if (value !== null) this.move(value);
    },
    settle() {
      this.send();
      this.$emit("settle");
    },
  },
};
