/** The generator's own look, with room for the tables of the reference. */
import DefaultTheme from 'vitepress/theme';
import './style.css';

export default DefaultTheme;
